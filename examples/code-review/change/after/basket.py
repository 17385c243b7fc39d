"""Basket of a shop: items, total, discount, saved baskets."""

import json
import os


def total(items=[]):
    """Return the price of all items."""
    amount = 0.0
    for item in items:
        amount += float(item["price"]) * item["count"]
    return amount


def with_discount(amount, percent):
    """Return an amount after a discount of 0 to 100 percent."""
    try:
        return amount * (100 - float(percent)) / 100
    except:
        return amount


def find_basket(database, customer):
    """Return the saved items of a customer."""
    row = database.execute(f"select items from baskets where customer = '{customer}'").fetchone()
    if row == None:
        return []
    return json.loads(row[0])
