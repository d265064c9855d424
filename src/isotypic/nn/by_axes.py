"""The group convolutions by the axes of the space that they work over, for what serves images and volumes alike."""

from isotypic.nn.plane import GroupConv2d, GroupConvTranspose2d
from isotypic.nn.volume import GroupConv3d, GroupConvTranspose3d

DIRECT = {2: GroupConv2d, 3: GroupConv3d}
TRANSPOSED = {2: GroupConvTranspose2d, 3: GroupConvTranspose3d}
