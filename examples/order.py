#!/usr/bin/env python3
"""An order: reserve, charge, wait for days for an approval, ship; what is refused is refunded.

    order.py worker                      # as many as you like
    order.py start order-17 book         # asks, and prints what became of it
    order.py approve order-17            # or: refuse order-17
"""

from __future__ import annotations

import logging
import sys
from typing import Any

import durable

app = durable.App()
app.queue("orders", max_concurrency=10)


class Declined(durable.Fatal):
    """The card is not accepted: no use to try again."""


@app.workflow("order", queue="orders")
def order(ctx: durable.Context, item: str) -> str:
    ctx.step("reserve", lambda: f"shelf 12: {item}")
    receipt = ctx.step("charge", charge, item, retry=durable.Retry(5, backoff=1, cap=60))
    ctx.transaction("book", lambda tx: tx.execute("INSERT INTO shop_ledger VALUES (%s, %s)", (ctx.name, receipt)))
    ctx.emit("progress", "waits for approval")
    try:
        answer = ctx.signal("approved", "refused", timeout="3 days")  # its worker is free meanwhile
    except durable.TimedOut:
        answer = durable.Answer("refused", "nobody answered")
    if answer.name == "refused":
        ctx.step("refund", refund, receipt, retry=durable.Retry(100, backoff=1, cap=3600))
        ctx.transaction("unbook", lambda tx: tx.execute("DELETE FROM shop_ledger WHERE name = %s", (ctx.name,)))
        return f"refunded: {answer.payload}"
    return ctx.step("ship", lambda: f"{item} is on its way")


def charge(item: str, step: durable.Step) -> str:
    """The step's id is the same in each attempt: with it as its key, the card service charges once."""
    if item == "yacht":
        raise Declined("the card is declined")
    return f"receipt {str(step.id)[-8:]}"


def refund(receipt: str) -> None:
    logging.info("refund %s", receipt)


def main(verb: str, *args: Any) -> None:
    if verb == "worker":
        logging.basicConfig(level=logging.INFO)
        app.run(patience=1)
    elif verb == "start":
        handle = app.start(order, args[0], args[1])
        print(f"{args[0]} {'is begun' if handle.created else 'is there already'}")
        try:
            print(handle.result())
        except durable.Failed as failed:
            sys.exit(str(failed))
    else:
        app.signal(args[0], {"approve": "approved", "refuse": "refused"}[verb], args[1] if args[1:] else None, key="decision")
    app.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
