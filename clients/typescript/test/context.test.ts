import assert from "node:assert/strict";
import type { PoolClient } from "pg";
import type { TransactionSql } from "postgres";
import { Cancelled, Failed, Fatal, RetryAfter, TimedOut, type Json } from "../src";
import { both, history, query, sleep, until } from "./support";

both("a step's outcome is what was recorded, on the first run as on a replay", async (f) => {
  const seen: unknown[] = [];
  const w = f.app.workflow(`w-${f.tag}`, async (ctx) => {
    const value = await ctx.step("value", () => ({ bb: 1, a: [new Date(0), undefined], n: -0, gone: undefined }));
    const failed: unknown = await ctx
      .step("failed", () => {
        throw new RangeError("no");
      })
      .catch((error: unknown) => error);
    assert.ok(failed instanceof Failed);
    seen.push([JSON.stringify(value), String(failed), failed.type, failed.message, failed.name]);
    seen.push([ctx.uuid(), ctx.random(), await ctx.now(), ctx.replaying]);
    if (seen.length === 2) await ctx.sleep("nap", 0.3);
    else assert.equal(await ctx.sleep("nap", 0.3), null);
  });
  f.work({ patience: 0 });
  const handle = await w.start(`n-${f.tag}`, undefined, { queue: f.queue });
  assert.equal(await handle.result({ timeout: 10 }), null);
  assert.deepEqual(seen[0], [
    '{"a":["1970-01-01T00:00:00.000Z",null],"n":0,"bb":1}',
    "failed: no",
    "RangeError",
    "no",
    "failed",
  ]);
  assert.deepEqual(seen.slice(2, 3), seen.slice(0, 1));
  assert.deepEqual((seen[3] as unknown[]).slice(0, 3), (seen[1] as unknown[]).slice(0, 3));
});

both("retries, Fatal, RetryAfter, details and timeouts are the server's", async (f) => {
  const times: number[] = [];
  const w = f.app.workflow(`w-${f.tag}`, async (ctx) => {
    const third = await ctx.step(
      "third",
      (step) => {
        if (step.attempt < 3) throw new Error("not yet");
        return step.attempt;
      },
      { retry: { max: 3, backoff: 0.01 } },
    );
    const later = await ctx.step(
      "later",
      (step) => {
        times.push(performance.now());
        if (step.attempt === 1) throw new RetryAfter(0.3);
        return step.id;
      },
      { retry: 1 },
    );
    const fatal: unknown = await ctx
      .step(
        "fatal",
        () => {
          throw new Fatal("never", { why: 1 });
        },
        { retry: 9 },
      )
      .catch((e: unknown) => e);
    assert.ok(fatal instanceof Failed);
    assert.deepEqual([fatal.type, fatal.detail, fatal.attempts], ["Fatal", { why: 1 }, 1]);
    const slow: unknown = await ctx
      .step(
        "slow",
        (step) =>
          new Promise((_, reject) => {
            step.signal.addEventListener("abort", () => {
              reject(new Error("aborted"));
            });
          }),
        { timeout: 0.1 },
      )
      .catch((e: unknown) => e);
    assert.ok(slow instanceof Failed);
    assert.equal(slow.type, "TimedOut");
    return [third, later];
  });
  f.work();
  const handle = await w.start(`n-${f.tag}`, undefined, { queue: f.queue });
  const [third, later] = await handle.result({ timeout: 10 });
  assert.equal(third, 3);
  const rows = await history(handle.id);
  assert.equal(later, (await query("SELECT durable.step_id($1, 1)", [handle.id]))[0]?.step_id);
  assert.ok((times[1] ?? 0) - (times[0] ?? 0) >= 280);
  assert.deepEqual(
    rows.map((row) => [row.status, row.attempt]),
    [
      ["COMPLETED", 3],
      ["COMPLETED", 2],
      ["FAILED", 1],
      ["FAILED", 1],
    ],
  );
});

both("a transaction commits with its outcome, or neither", async (f) => {
  await query(`CREATE TABLE t_${f.tag} (x int PRIMARY KEY)`);
  const w = f.app.workflow(`w-${f.tag}`, async (ctx) => {
    await ctx.transaction("one", (tx) => f.sql(`INSERT INTO t_${f.tag} VALUES (1)`, [], tx));
    const failed: unknown = await ctx
      .transaction("two", async (tx) => {
        await f.sql(`INSERT INTO t_${f.tag} VALUES (2)`, [], tx);
        await f.sql(`INSERT INTO t_${f.tag} VALUES (1)`, [], tx);
      })
      .catch((e: unknown) => e);
    assert.ok(failed instanceof Failed);
    let tries = 0;
    return await ctx.transaction("three", async (tx, step) => {
      await f.sql(`INSERT INTO t_${f.tag} VALUES (3)`, [], tx);
      if (++tries < 3) await f.sql("SELECT pg_terminate_backend(pg_backend_pid())", [], tx);
      return [tries, step.attempt];
    });
  });
  f.work();
  const handle = await w.start(`n-${f.tag}`, undefined, { queue: f.queue });
  assert.deepEqual(await handle.result({ timeout: 10 }), [3, 1]);
  assert.deepEqual(await query(`SELECT x FROM t_${f.tag} ORDER BY x`), [{ x: 1 }, { x: 3 }]);
});

both("signals, callbacks and timeouts, in place and suspended", async (f) => {
  for (const patience of [30, 0]) {
    const w = f.app.workflow(`w-${patience}-${f.tag}`, async (ctx) => {
      const missing: unknown = await ctx.signal("missing", { timeout: 0.1 }).catch((e: unknown) => e);
      assert.ok(missing instanceof TimedOut);
      const first = await ctx.signal<number>("go");
      const either = await ctx.signal<Json>(["yes", "no"], { timeout: "1 hour" });
      const callback = ctx.callback<string>("pay", { timeout: 60 });
      await ctx.step("send", () => query("SELECT pg_notify('x', $1)", [callback.id]).then(() => undefined));
      await ctx.emit("token", callback.id);
      return [first, either, await callback];
    });
    const worker = f.work({ patience });
    const handle = await w.start(`n-${patience}-${f.tag}`, undefined, { queue: f.queue });
    await handle.signal("go", 17, { key: "k" });
    assert.equal(await handle.signal("go", 18, { key: "k" }), false);
    await until(async () => (await history(handle.id)).length === 3);
    if (patience === 0) await until(async () => (await handle.status()) === "PENDING");
    assert.equal(await f.app.signal(`n-${patience}-${f.tag}`, "no", { by: "Ann" }), true);
    for await (const event of handle.events({ follow: true })) {
      assert.equal(event.topic, "token");
      assert.equal(await f.app.answer(String(event.payload), "paid"), true);
    }
    assert.deepEqual(await handle.result({ timeout: 10 }), [
      { name: "go", payload: 17 },
      { name: "no", payload: { by: "Ann" } },
      "paid",
    ]);
    worker.stop();
  }
});

both("children inline and in queues, gather, first and map", async (f) => {
  const leaf = f.app.workflow(
    `leaf-${f.tag}`,
    async (ctx, n: number) => {
      await ctx.step("work", () => n);
      if (n === 13) throw new RangeError("unlucky");
      return n * 2;
    },
    { queue: f.queue },
  );
  let runs = 0;
  const w = f.app.workflow(`w-${f.tag}`, async (ctx) => {
    runs++;
    const inline = await ctx.child("inline", leaf, 1);
    const failed: unknown = await ctx.child("unlucky", leaf, 13).catch((e: unknown) => e);
    assert.ok(failed instanceof Failed);
    assert.deepEqual([failed.type, failed.message], ["RangeError", "unlucky"]);
    const many = Array.from({ length: 20 }, (_, n) => ctx.child(`child ${n}`, leaf, n, { queue: f.queue }));
    const error: unknown = await ctx.gather(many).catch((e: unknown) => e);
    assert.ok(error instanceof Failed && error.type === "RangeError");
    const squares = await ctx.map("square", [1, 2, 3, 4, 5], (x) => x * x, { concurrency: 2 });
    const [a, b] = await ctx.gather([ctx.step("a", () => 1), ctx.child("b", leaf, 2, { queue: f.queue })]);
    const won = await ctx.first([ctx.sleep("long", 3600), ctx.signal("never"), ctx.sleep("short", 0.2)]);
    const step = await ctx.first([ctx.step("quick", () => sleep(0.3)), ctx.sleep("hour", 3600)]);
    return { inline, squares, a, b, won: won.index, step: step.index };
  });
  f.work({ patience: 0.1, concurrency: 4 });
  const handle = await w.start(`n-${f.tag}`, undefined, { queue: f.queue });
  assert.deepEqual(await handle.result({ timeout: 30 }), {
    inline: 2,
    squares: [1, 4, 9, 16, 25],
    a: 1,
    b: 4,
    won: 2,
    step: 0,
  });
  assert.ok(runs < 10, `${runs} runs`);
});

both("concurrent steps take their positions in the order of the program", async (f) => {
  const w = f.app.workflow(`w-${f.tag}`, async (ctx) => {
    const slow = ctx.step("slow", () => sleep(0.2));
    const [quick] = await Promise.all([ctx.step("quick", () => 1), slow]);
    void ctx.step("left alone", () => sleep(0.1)); // its outcome is awaited all the same
    return quick;
  });
  f.work();
  const handle = await w.start(`n-${f.tag}`, undefined, { queue: f.queue });
  assert.equal(await handle.result({ timeout: 10 }), 1);
  assert.deepEqual(
    (await history(handle.id)).map((row) => [row.name, row.status]),
    [
      ["slow", "COMPLETED"],
      ["quick", "COMPLETED"],
      ["left alone", "COMPLETED"],
    ],
  );
});

both("what JSON cannot hold fails the step that returned it, with its path", async (f) => {
  const w = f.app.workflow(`w-${f.tag}`, async (ctx) => {
    const cause = [{ a: [1n] }, { a: NaN }, { m: new Map() }, "\0", { f: () => 1 }, "\ud800"];
    const errors = await Promise.all(
      cause.map((value, n) =>
        ctx
          .step(`bad ${n}`, () => value as never)
          .then(
            () => "",
            (e: unknown) => (e as Failed).message,
          ),
      ),
    );
    return [...errors, await ctx.step("none", () => undefined)];
  });
  f.work();
  const handle = await w.start(`n-${f.tag}`, undefined, { queue: f.queue });
  assert.deepEqual(await handle.result({ timeout: 10 }), [
    'step "bad 0": $.a[0] is a bigint, which JSON cannot hold',
    'step "bad 1": $.a is NaN, which JSON cannot hold',
    'step "bad 2": $.m is a Map, which JSON cannot hold',
    'step "bad 3": $ is a string with a NUL character, which JSON cannot hold',
    'step "bad 4": $.f is a function, which JSON cannot hold',
    'step "bad 5": $ is a string with half of a surrogate pair, which JSON cannot hold',
    null,
  ]);
});

both("a workflow that fails keeps the type of the failure that it did not catch", async (f) => {
  const w = f.app.workflow(`w-${f.tag}`, async (ctx) => {
    await ctx.step("charge", () => {
      throw new TypeError("no card");
    });
  });
  f.work();
  const handle = await w.start(`n-${f.tag}`, undefined, { queue: f.queue });
  await assert.rejects(
    handle.result({ timeout: 10 }),
    (e: Failed) => e instanceof Failed && e.type === "TypeError" && e.message === "charge: no card",
  );
});

both("cancel, pause and resume reach a program within moments", async (f) => {
  const aborted: string[] = [];
  const w = f.app.workflow(`w-${f.tag}`, async (ctx, kind: string) => {
    try {
      await ctx.step("long", async (step) => {
        for (let n = 0; n < 50 && !step.signal.aborted; n++) await sleep(0.02);
        if (step.signal.aborted) aborted.push(kind);
      });
      await ctx.step("more", () => 1);
    } catch (error) {
      if (error instanceof Error) aborted.push(`caught ${error.message}`);
      throw error;
    }
    return kind;
  });
  f.work();
  const cancelled = await w.start(`c-${f.tag}`, "cancelled", { queue: f.queue });
  const paused = await w.start(`p-${f.tag}`, "paused", { queue: f.queue });
  await until(async () => (await history(paused.id)).length === 1 && (await history(cancelled.id)).length === 1);
  const began = performance.now();
  await cancelled.cancel();
  await until(() => aborted.length === 1);
  assert.ok(performance.now() - began < 500);
  await assert.rejects(cancelled.result({ timeout: 5 }), Cancelled);
  assert.ok((await paused.pause()) >= 1);
  await until(async () => (await history(paused.id))[0]?.status === "COMPLETED");
  await sleep(0.2);
  assert.equal((await history(paused.id)).length, 1);
  assert.ok((await paused.resume()) >= 1);
  assert.equal(await paused.result({ timeout: 5 }), "paused");
  assert.deepEqual(aborted, ["cancelled"]);
});

both("a workflow that is resumed while its step is still at work goes on at once", async (f) => {
  let release: () => void = () => undefined;
  const w = f.app.workflow(`w-${f.tag}`, async (ctx) => {
    await ctx.step("long", () => new Promise<void>((resolve) => (release = resolve)));
    return await ctx.step("more", () => "more");
  });
  f.work();
  const handle = await w.start(f.tag, undefined, { queue: f.queue });
  await until(async () => (await history(handle.id)).length === 1);
  await handle.pause();
  await sleep(0.3);
  await handle.resume();
  await sleep(0.3);
  release();
  assert.equal(await handle.result({ timeout: 10 }), "more");
});

both("an interrupt that a program swallows is noticed, and nothing is recorded", async (f) => {
  let calls = 0;
  const w = f.app.workflow(`w-${f.tag}`, async (ctx) => {
    for (;;) {
      try {
        await ctx.signal("go");
        return calls;
      } catch {
        calls++; // over and over
      }
    }
  });
  f.work({ patience: 0.05 });
  const handle = await w.start(`n-${f.tag}`, undefined, { queue: f.queue });
  await until(async () => (await handle.status()) === "PENDING" && calls > 50);
  await sleep(0.2);
  const before = calls;
  await sleep(0.2);
  assert.equal(calls, before, "it is left behind");
  await handle.signal("go");
  assert.ok((await handle.result({ timeout: 10 })) !== undefined);
});

both("a changed program is given back, not failed", async (f) => {
  let name = "old";
  const w = f.app.workflow(`w-${f.tag}`, async (ctx) => {
    await ctx.step(name, () => 1);
    await ctx.signal("go");
  });
  f.work({ patience: 0 });
  const handle = await w.start(`n-${f.tag}`, undefined, { queue: f.queue });
  await until(async () => (await handle.status()) === "PENDING" && (await history(handle.id)).length === 2);
  name = "new";
  await handle.signal("go");
  await until(() => f.log.some((line) => line.includes('position 0 is STEP "old", not STEP "new"')));
  await until(async () => (await handle.status()) === "PENDING");
});

both("a start and a signal commit with the caller's transaction", async (f) => {
  const w = f.app.workflow(`w-${f.tag}`, async (ctx) => (await ctx.signal<number>("go")).payload);
  f.work();
  const run = async (tx: never, isKept: boolean): Promise<string> => {
    const handle = await w.start(`n-${isKept}-${f.tag}`, undefined, { queue: f.queue, tx });
    await handle.signal("go", 5, { tx });
    return handle.id;
  };
  const ids: string[] = [];
  for (const isKept of [true, false]) {
    if (f.driver === "pg") {
      const client = await (
        f.pool as { connect(): Promise<{ query(q: string): Promise<unknown>; release(): void }> }
      ).connect();
      await client.query("BEGIN");
      ids.push(await run(client as never, isKept));
      await client.query(isKept ? "COMMIT" : "ROLLBACK");
      client.release();
    } else {
      const sql = f.pool as unknown as { begin(body: (tx: never) => Promise<void>): Promise<void> };
      await sql
        .begin(async (tx) => {
          ids.push(await run(tx, isKept));
          if (!isKept) throw new Error("roll back");
        })
        .catch(() => undefined);
    }
  }
  assert.equal(await (await f.app.attach(ids[0] ?? "")).result({ timeout: 10 }), 5);
  await assert.rejects((await f.app.attach(ids[1] ?? "")).status(), { code: "WF001" });
  assert.equal((await f.app.attach(`n-true-${f.tag}`)).id, ids[0]);
  await assert.rejects(f.app.attach(`n-false-${f.tag}`), { code: "WF001" });
});

both("names and handles one after the other, a transaction that only asks, a queue that nobody made", async (f) => {
  const queue = `unmade-${f.tag}`;
  const leaf = f.app.workflow(`leaf-${f.tag}`, (_, n: number) => n * 2);
  const w = f.app.workflow(`w-${f.tag}`, async (ctx) => {
    const result = await ctx.transaction<{ rows: object }>("ask", (tx) =>
      f.driver === "pg"
        ? (tx as PoolClient).query("SELECT 1 AS one")
        : (tx as TransactionSql)`SELECT 1 AS one`.then((rows) => ({ rows })),
    );
    const answer = await ctx.signal("approved", "refused", { timeout: "1 hour" });
    const name: "approved" | "refused" = answer.name; // the type says so
    const callback = ctx.callback<string>("callback");
    await ctx.step("answer", () => f.app.answer(callback.token, "yes"));
    const [yes, four] = await ctx.gather(callback, ctx.child("leaf", leaf, 2, { queue }));
    const won = await ctx.first(ctx.sleep("long", 3600), ctx.sleep("short", 0.1), { timeout: 60 });
    const late: unknown = await ctx.signal("a", "b", { timeout: 0 }).catch((error: unknown) => error);
    const sums = await ctx.map("sum", [1, 2], (n) => n + four, 0); // one at a time
    const failed: unknown = await ctx
      .step("failed", () => {
        throw new Error("a\0b\ud800");
      })
      .catch((error: unknown) => error);
    assert.ok(failed instanceof Failed && failed.message === "a\\0b\ufffd");
    return { rows: result.rows, name, yes, won: won.index, isLate: late instanceof TimedOut, sums };
  });
  f.work({ queues: [queue] });
  const handle = await w.start(`n-${f.tag}`, undefined, { queue: `other-${f.tag}` });
  await handle.cancel();
  const again = await w.start(`n-${f.tag}`, undefined, { queue });
  await again.signal("refused");
  const output = { rows: [{ one: 1 }], name: "refused", yes: "yes", won: 1, isLate: true, sums: [5, 6] };
  assert.deepEqual(await again.result(20), output);
});
