"""The group convolution in the isotypic basis: block-diagonal, so with a fraction of the multiplications.

``case`` says what is computed, ``convolution`` computes it with gradients: ``compiled`` by a C++ kernel (the folder
``kernel``, with the header that ``source`` writes from the group's tables), ``stock`` by torch's own functions.
"""
