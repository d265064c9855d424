"""What a study knows of each task, one file a task."""
