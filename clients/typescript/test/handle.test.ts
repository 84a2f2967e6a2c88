import assert from "node:assert/strict";
import { Cancelled, Failed } from "../src";
import { both, history, query, until } from "./support";

const later = (): Date => new Date(Date.now() + 3_600_000);

both("who is asked to end cleans up, and who does not is cancelled after the grace", async (f) => {
  const gentle = f.app.workflow(`gentle-${f.tag}`, async (ctx) => {
    try {
      await ctx.signal("never");
      return "wrong";
    } catch (error) {
      assert.ok(error instanceof Cancelled);
      assert.match(error.message, /no longer wanted/);
      return await ctx.step("undo", () => "undone");
    }
  });
  const stubborn = f.app.workflow(`stubborn-${f.tag}`, async (ctx) => {
    await ctx.signal("never").catch(() => undefined);
    await ctx.signal("never");
  });
  f.work({ patience: 0.1 });
  const asked = await gentle.start(`g-${f.tag}`, undefined, { queue: f.queue });
  await until(async () => (await history(asked.id)).length === 1);
  assert.equal(await asked.requestCancel("no longer wanted"), 1);
  assert.equal(await asked.result({ timeout: 10 }), "undone");
  const told = await stubborn.start(`s-${f.tag}`, undefined, { queue: f.queue });
  await until(async () => (await history(told.id)).length === 1);
  await told.requestCancel("now", 0.5);
  await assert.rejects(told.result({ timeout: 10 }), Cancelled);
  assert.equal((await history(told.id)).length, 2, "it had its chance");
});

both("ifActive and ifFinished say what namesakes mean", async (f) => {
  const w = f.app.workflow(`w-${f.tag}`, (_, n: number) => n);
  const waiting = await w.start(f.tag, 1, { queue: f.queue, runAt: later() });
  assert.ok(waiting.created);
  const same = await w.start(f.tag, 2, { queue: f.queue });
  assert.deepEqual([same.id, same.created], [waiting.id, false]);
  await assert.rejects(w.start(f.tag, 3, { queue: f.queue, ifActive: "refuse" }), { code: "WF014" });
  await w.start(f.tag, 4, { queue: f.queue, ifActive: "replace" });
  f.work();
  assert.equal(await (await f.app.attach<number>(f.tag)).result(10), 4);
  const old = await w.start(f.tag, 5, { queue: f.queue, ifFinished: "return" });
  assert.deepEqual([old.created, await old.result({ timeout: 10 })], [false, 4]);
  const again = await w.start(f.tag, 6, { queue: f.queue });
  assert.deepEqual([again.created, await again.result({ timeout: 10 })], [true, 6]);
});

both("tags of a start, of many in one call, and of a child", async (f) => {
  const w = f.app.workflow(`w-${f.tag}`, async (ctx, n: number) => {
    if (n < 0) await ctx.child("below", w.run, 0, { queue: f.queue, tags: { test: f.tag, n: "child" } });
    return n;
  });
  const start = (n: number) => w.start(`${n}-${f.tag}`, n, { queue: f.queue, tags: { test: f.tag, n } });
  await start(0);
  await Promise.all([1, 2, 3].map(start));
  const found = async (tags: object) =>
    (await query("SELECT name FROM durable.list(tags => $1, sort => 'name', descending => false)", [tags])).map(
      ({ name }) => name,
    );
  assert.deepEqual(await found({ test: f.tag }), [`0-${f.tag}`, `1-${f.tag}`, `2-${f.tag}`, `3-${f.tag}`]);
  assert.deepEqual(await found({ test: f.tag, n: 2 }), [`2-${f.tag}`]);
  f.work();
  await start(-1);
  await until(async () => (await found({ n: "child", test: f.tag })).length === 1);
});

both("a workflow is tried again as a whole, and what it has done stays done", async (f) => {
  const runs: string[] = [];
  const w = f.app.workflow(`w-${f.tag}`, async (ctx, failures: number) => {
    await ctx.step("once", () => void runs.push("once"));
    await ctx.step("often", () => {
      runs.push("often");
      if (runs.filter((run) => run === "often").length <= failures) throw new RangeError("not yet");
    });
    return "done";
  });
  f.work();
  const options = { queue: f.queue, retry: { max: 2, backoff: 0.05 } };
  const handle = await w.start(`a-${f.tag}`, 2, options);
  assert.equal(await handle.result({ timeout: 10 }), "done");
  assert.deepEqual(runs, ["once", "often", "often", "often"]);
  runs.length = 0;
  const lost = await w.start(`b-${f.tag}`, 3, options);
  await assert.rejects(
    lost.result({ timeout: 10 }),
    (error: unknown) => error instanceof Failed && error.type === "RangeError",
  );
  assert.equal(runs.length, 4);
  await lost.retry();
  assert.equal(await lost.result({ timeout: 10 }), "done", "an operator's retry");
  assert.deepEqual(runs.slice(4), ["often"]);
});

both("a fork keeps what was recorded before the position, with another name and input", async (f) => {
  const ran: string[] = [];
  const w = f.app.workflow(`w-${f.tag}`, async (ctx, n: number) => {
    const first = await ctx.step("first", () => (ran.push("first"), n));
    const second = await ctx.step("second", () => (ran.push("second"), n * 10));
    return [first, second];
  });
  f.work();
  const handle = await w.start(f.tag, 1, { queue: f.queue });
  assert.deepEqual(await handle.result({ timeout: 10 }), [1, 10]);
  const fork = await handle.fork(1, { queue: f.queue, name: `fork-${f.tag}`, input: 2 });
  assert.deepEqual(await fork.result({ timeout: 10 }), [1, 20]);
  const same = await handle.fork(2, { queue: f.queue });
  assert.deepEqual(await same.result({ timeout: 10 }), [1, 10]);
  assert.deepEqual(ran, ["first", "second", "second"]);
  assert.deepEqual(await query("SELECT name FROM durable.task WHERE id = ANY ($1::uuid[])", [[same.id]]), [
    { name: f.tag },
  ]);
});

both("the result is that of the last run, where a workflow goes on in next ones", async (f) => {
  const w = f.app.workflow(`w-${f.tag}`, async (ctx, n: number): Promise<string> => {
    await ctx.step("run", () => n);
    return n > 0 ? ctx.continueAs(n - 1) : "the last";
  });
  const handle = await w.start(f.tag, 3, { queue: f.queue });
  const early = handle.result({ timeout: 10 });
  f.work();
  assert.equal(await early, "the last");
  assert.equal(await handle.result({ timeout: 10 }), "the last");
  assert.equal(await handle.status(), "COMPLETED");
});

both("a handle that waits outlives its connection", async (f) => {
  const w = f.app.workflow(`w-${f.tag}`, (_, n: number) => n);
  const handle = await w.start(f.tag, 1, { queue: f.queue });
  const output = handle.result(20);
  const waiting =
    "SELECT pid FROM pg_stat_activity WHERE query LIKE 'CALL durable.wait_for_end%' AND pid <> pg_backend_pid()";
  await until(async () => (await query(waiting)).length > 0);
  await query(`SELECT pg_terminate_backend(pid) FROM (${waiting}) w`);
  f.work();
  assert.equal(await output, 1);
});
