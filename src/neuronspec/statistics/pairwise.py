"""Matrices of distances or similarities between all pairs of objects, such as languages: reading and checking."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from neuronspec.errors import NeuronspecError
from neuronspec.statistics.numbers import FloatArray, read_numbers


def list_pairs(*matrices: ArrayLike) -> tuple[FloatArray, int]:
    """Return the values above the diagonals of matrices over the same objects.

    Args:
        matrices: (n, n) symmetric values each; nan on the diagonal of any of them leaves an object out.

    Returns:
        The values, (matrices, pairs), and the number of objects that were not left out.

    Raises:
        NeuronspecError: If the matrices have different shapes, are not square or symmetric, or have values that are
            not finite.
    """
    squares = [read_numbers("a matrix", matrix) for matrix in matrices]
    if len({square.shape for square in squares}) > 1:
        shapes = ", ".join(str(square.shape) for square in squares)
        raise NeuronspecError(f"found matrices of shapes {shapes}, expected the same objects in each")

    for square in squares:
        check_square(square)

    # An object that one of the matrices does not know is left out of all.
    known = np.all([np.isfinite(np.diagonal(square)) for square in squares], axis=0)
    n = int(known.sum())

    # Every pair once, from above the diagonal.
    above = np.triu_indices(n, k=1)
    values = []
    for square in squares:
        kept = square[np.ix_(known, known)]
        check_symmetric(kept)
        values.append(kept[above])
    return np.stack(values), n  # (matrices, pairs)


def check_square(matrix: FloatArray) -> None:
    """Refuse a matrix that is not square, or is empty.

    Raises:
        NeuronspecError: If the matrix is not (objects, objects).
    """
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.size:
        raise NeuronspecError(f"found a matrix of shape {matrix.shape}, expected (objects, objects), not empty")


def check_symmetric(matrix: FloatArray) -> None:
    """Refuse a square matrix whose values off the diagonal are not finite or not symmetric.

    Raises:
        NeuronspecError: If the matrix has such values.
    """
    # The diagonal is ignored: it may be 0, 1 or nan.
    pairs = ~np.eye(len(matrix), dtype=bool)
    if not np.isfinite(matrix[pairs]).all():
        raise NeuronspecError("the matrix has values that are not finite; leave out the objects they belong to")
    # The same pair computed in two orders may differ in the last digits, which is no asymmetry.
    if not np.allclose(matrix[pairs], matrix.T[pairs], rtol=1e-9, atol=1e-9):
        raise NeuronspecError("the matrix is not symmetric, expected the same value from a to b as from b to a")
