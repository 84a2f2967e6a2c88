#!/usr/bin/env python3
"""Bring your own transaction: a workflow begins, or is signalled, if and only if the caller's rows are committed.

With psycopg, SQLAlchemy and Django: pass the connection or session to `start` or `signal`. No outbox, no second system.
SQLAlchemy and Django must use psycopg 3 (`postgresql+psycopg://`; Django from 4.2 on does if it is installed).
"""

from __future__ import annotations

import os

import durable
import psycopg

app = durable.App()


@app.workflow("welcome", queue="mail")
def welcome(ctx: durable.Context, user: str) -> str:
    return ctx.step("send", lambda: f"welcome, {user}")


INSERT = "INSERT INTO member VALUES (%s)"


def with_psycopg(user: str, fail: bool = False) -> durable.Handle[str]:
    with psycopg.connect() as conn:  # commits at its end, or rolls back
        conn.execute(INSERT, (user,))
        handle = app.start(welcome, f"welcome-{user}", user, connection=conn)
        if fail:
            raise RuntimeError("rolled back")
    return handle


def with_sqlalchemy(user: str, fail: bool = False) -> durable.Handle[str]:
    from sqlalchemy import create_engine, text
    from sqlalchemy.orm import Session

    engine = create_engine("postgresql+psycopg://")  # PGHOST and its like
    with Session(engine) as session, session.begin():
        session.execute(text("INSERT INTO member VALUES (:user)"), {"user": user})
        handle = app.start(welcome, f"welcome-{user}", user, connection=session)
        if fail:
            raise RuntimeError("rolled back")
    return handle


def with_django(user: str, fail: bool = False) -> durable.Handle[str]:
    import django
    from django.conf import settings

    if not settings.configured:
        settings.configure(DATABASES={"default": {
            "ENGINE": "django.db.backends.postgresql", "NAME": os.environ["PGDATABASE"], "HOST": os.environ.get("PGHOST", ""),
            "PORT": os.environ.get("PGPORT", ""), "USER": os.environ.get("PGUSER", "")}})
        django.setup()
    from django.db import connection, transaction

    with transaction.atomic():
        with connection.cursor() as cursor:  # or: Member.objects.create(...)
            cursor.execute(INSERT, [user])
        handle = app.start(welcome, f"welcome-{user}", user, connection=connection)
        if fail:
            raise RuntimeError("rolled back")
    return handle
