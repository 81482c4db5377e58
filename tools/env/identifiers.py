"""Identifiers with their check digits, for samples, benchmarks and tests. The persons are invented."""


def natural_id(nine_digits: int) -> str:
    """Return the 10-digit national number of a natural person that begins with *nine_digits*."""
    digits = f"{nine_digits:09d}"
    rest = sum(int(digit) * weight for digit, weight in zip(digits, range(10, 1, -1), strict=True)) % 11
    return f"{digits}{rest if rest < 2 else 11 - rest}"


def legal_id(ten_digits: int) -> str:
    """Return the 11-digit identifier of a legal person that begins with *ten_digits*."""
    digits = f"{ten_digits:010d}"
    weights = (29, 27, 23, 19, 17) * 2
    shift = int(digits[-1]) + 2
    rest = sum((int(digit) + shift) * weight for digit, weight in zip(digits, weights, strict=True)) % 11
    return f"{digits}{rest % 10}"
