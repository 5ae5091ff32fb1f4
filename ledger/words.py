"""Words for numbers in messages to people."""


def amount(number: int, thing: str) -> str:
    """Return a number with what it counts, such as `1 row` or `2 rows`."""
    if number == 1:
        return f"1 {thing}"
    return f"{number} {thing}{'es' if thing.endswith(('ch', 's')) else 's'}"
