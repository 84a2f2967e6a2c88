"""What goes to the server comes back the same on the first run as on a replay."""

from __future__ import annotations

import dataclasses
import json
import math
import random
from datetime import UTC, datetime
from typing import Any

import durable
import pydantic
import pytest
from durable.protocol import fields
from durable.values import Codec, dumps, loads

codec = Codec()


def anything(rng: random.Random, depth: int = 0) -> Any:
    kind = rng.randrange(9 if depth < 4 else 6)
    if kind == 0:
        return rng.choice([None, True, False, 0, -1, 2**70, -0.0, 0.1, 1.50])
    if kind == 1:
        return rng.choice([rng.uniform(-1, 1) * 10 ** rng.randrange(-300, 300), float(rng.randrange(10**18)), 1e16, 1e-7])
    if kind == 2:
        return rng.randrange(-(2**53), 2**53)
    if kind in (3, 4, 5):
        return "".join(rng.choice('ab"\\,(){} é\n\t\u2028😀') for _ in range(rng.randrange(8)))
    if kind == 6:
        return [anything(rng, depth + 1) for _ in range(rng.randrange(4))]
    if kind == 7:
        return tuple(anything(rng, depth + 1) for _ in range(rng.randrange(3)))
    keys = ["a", "b", "aa", "é", "z", "ab", 1, True, None, 2.5, "1", "", "😀", '"']
    return {rng.choice(keys): anything(rng, depth + 1) for _ in range(rng.randrange(5))}


def test_a_value_is_as_jsonb_keeps_it(db):
    """The trip is made in the client, so it must be the server's: also the order of keys and the type of numbers."""
    rng = random.Random(7)
    values = [anything(rng) for _ in range(1500)]
    texts = [dumps(value) for value in values]
    for text, kept in zip(texts, db.value("SELECT array_agg(v::jsonb::text ORDER BY n) FROM unnest(%s::text[])"
                                          " WITH ORDINALITY AS u (v, n)", texts), strict=True):
        assert json.dumps(loads(text)) == json.dumps(loads(kept)), text
        assert json.dumps(loads(kept)) == json.dumps(json.loads(kept)), kept


def test_composites_are_read(db):
    rng = random.Random(8)
    for _ in range(300):
        parts = [anything(rng, 9) for _ in range(4)]
        texts = [part if isinstance(part, str) else None for part in parts]
        record = db.value("SELECT (%s::text, %s::text, %s::text, %s::text)::text", *texts)
        assert list(fields(record)) == [text or ("" if text == "" else None) for text in texts]


@pytest.mark.parametrize(("value", "place"), [
    ({"a": [1, {"b": object()}]}, "$.a[1].b"), ({"a": math.nan}, "$.a"), ([[math.inf]], "$[0][0]"), ({(1, 2): 3}, "$"),
    ({"x": "a\0b"}, "$.x"), ("\ud800", "$"), ({"s": {1, 2}}, "$.s"),
])
def test_an_error_names_the_step_and_the_path(value, place):
    with pytest.raises(durable.NotJson) as error:
        codec.encode(value, 'step "pack" at 3')
    assert str(error.value).startswith(f'step "pack" at 3: {place} cannot')


def test_a_circle_is_an_error():
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(durable.NotJson):
        codec.encode(circle, "step")


class Item(pydantic.BaseModel):
    name: str
    price: float
    at: datetime


@dataclasses.dataclass
class Shelf:
    number: int
    items: list[Item]


def test_annotations_make_models_and_dataclasses():
    item = Item(name="lamp", price=3, at=datetime(2026, 1, 2, tzinfo=UTC))
    assert codec.decode(codec.encode(item, "x"), Item) == item
    shelf = Shelf(3, [item])
    assert codec.decode(codec.encode(shelf, "x"), Shelf) == shelf
    assert codec.decode(codec.encode([shelf], "x"), list[Shelf]) == [shelf]
    assert codec.decode(codec.encode(item, "x"), dict) == json.loads(item.model_dump_json())


def test_another_codec(db):
    """A pair of functions in the place of JSON's: here all that is stored is reversed."""
    app = durable.App(db.conninfo, codec=Codec(lambda v: json.dumps(json.dumps(v)[::-1]), lambda t: json.loads(json.loads(t)[::-1])))

    @app.workflow("secret")
    def secret(ctx: durable.Context, word: str) -> str:
        return ctx.step("twice", lambda: word * 2)

    assert app.drive(secret, "s1", "abc") == "abcabc"
    assert db.value("SELECT output #>> '{}' FROM durable.task WHERE name = 'twice'") == '"cbacba"'
    app.close()
