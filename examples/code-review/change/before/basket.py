"""Basket of a shop: items, total, discount."""

from decimal import Decimal


def total(items):
    """Return the price of all items."""
    return sum((Decimal(item["price"]) * item["count"] for item in items), Decimal(0))


def with_discount(amount, percent):
    """Return an amount after a discount of 0 to 100 percent."""
    if not 0 <= percent <= 100:
        raise ValueError("percent must be from 0 to 100")
    return amount * (100 - percent) / 100
