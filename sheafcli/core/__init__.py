"""The mathematics of sheaf training, after Bosca & Ghrist (arXiv:2603.14831), on NumPy and SciPy alone.

Every array is samples x features. Symbols follow the paper: ``z_l`` pre-activations, ``a_l``
activations, ``W_l`` and ``b_l`` weights, ``R_l = diag(1[z_l >= 0])`` the activation pattern,
``r_l`` and ``s_l`` the residuals of the affine and activation edges, ``phi`` the output function.
"""
