import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { App } from "../src";
import { bucketOfId, bucketOfName } from "../src/app";
import { admin, both, drivers, Fixture, history, pool, program, query, sleep, until } from "./support";

both("no more than `concurrency` run at once, and a free place is taken at once", async (f) => {
  let now = 0;
  let most = 0;
  const w = f.app.workflow(`w-${f.tag}`, async (ctx) => {
    most = Math.max(most, ++now);
    await ctx.step("work", () => sleep(0.05));
    now--;
  });
  f.work({ concurrency: 3 });
  const began = performance.now();
  const handles = await Promise.all(
    Array.from({ length: 12 }, (_, n) => w.start(`${n}-${f.tag}`, undefined, { queue: f.queue })),
  );
  for (const handle of handles) await handle.result({ timeout: 10 });
  assert.equal(most, 3);
  assert.ok(performance.now() - began < 3000);
  await sleep(0.3); // it waits for work again
  const late = performance.now();
  await (await w.start(`late-${f.tag}`, undefined, { queue: f.queue })).result({ timeout: 5 });
  assert.ok(performance.now() - late < 1000, "it was listening");
});

both("what concurrent workflows ask for in the same moment is one call", async (f) => {
  const seen: string[] = [];
  const w = f.app.workflow(
    `w-${f.tag}`,
    async (ctx) => {
      for (let i = 0; i < 4; i++) await ctx.step(`step ${i}`, () => i);
    },
    { fused: true },
  );
  const { database } = f.app.shards[0]!;
  const { forWorker } = database;
  const spied = <D extends Pick<typeof database, "query">>(it: D): D => {
    const { query: send } = it;
    it.query = (text, values) => {
      seen.push(/durable\.(\w+)/.exec(text)?.[1] ?? text);
      return send(text, values);
    };
    return it;
  };
  spied(database).forWorker = () => spied(forWorker());
  const handles = await Promise.all(
    Array.from({ length: 20 }, (_, n) => w.start(`${n}-${f.tag}`, undefined, { queue: f.queue })),
  );
  f.work({ concurrency: 20 });
  for (const handle of handles) await handle.result({ timeout: 10 });
  assert.deepEqual(
    seen.filter((name) => name === "start_many" || name === "start"),
    ["start_many"],
  );
  const count = (name: string): number => seen.filter((one) => one === name).length;
  assert.ok(count("complete_and_claim_many") >= 3 && count("complete_and_claim_many") < 30, JSON.stringify(seen));
  assert.ok(count("complete_and_claim") < 20);
  const rows = await history(handles[7]!.id);
  assert.deepEqual(
    rows.map((row) => [row.name, row.status, row.output]),
    [0, 1, 2, 3].map((i) => [`step ${i}`, "COMPLETED", i]),
  );
});

both("a long wait frees the place of its workflow, a short one does not", async (f) => {
  let runs = 0;
  const short = f.app.workflow(`short-${f.tag}`, async (ctx) => {
    runs++;
    await ctx.sleep("nap", 0.2);
  });
  const long = f.app.workflow(`long-${f.tag}`, async (ctx) => (await ctx.signal<string>("go")).payload);
  f.work({ concurrency: 1, patience: 0.5 });
  const waiting = await long.start(`long-${f.tag}`, undefined, { queue: f.queue });
  await until(async () => (await waiting.status()) === "PENDING" && (await history(waiting.id)).length === 1);
  await (await short.start(`short-${f.tag}`, undefined, { queue: f.queue })).result({ timeout: 5 });
  assert.equal(runs, 1);
  await waiting.signal("go", "now");
  assert.equal(await waiting.result({ timeout: 5 }), "now");
});

both("a parent of many queued children is suspended until all of them have ended", async (f) => {
  let runs = 0;
  const leaf = f.app.workflow(
    `leaf-${f.tag}`,
    async (ctx, n: number) => ctx.step("work", () => sleep(0.01).then(() => n)),
    { queue: f.queue },
  );
  const w = f.app.workflow(`w-${f.tag}`, async (ctx) => {
    runs++;
    const children = Array.from({ length: 100 }, (_, n) => ctx.child(`${n}`, leaf, n, { queue: f.queue }));
    return (await ctx.gather(children)).reduce((a, b) => a + b, 0);
  });
  f.work({ concurrency: 5, patience: 0 });
  const handle = await w.start(`w-${f.tag}`, undefined, { queue: f.queue });
  assert.equal(await handle.result({ timeout: 30 }), 4950);
  assert.ok(runs <= 3, `${runs} runs`);
});

for (const driver of drivers) {
  test(
    `SIGTERM drains: the step in flight ends, the rest is handed back at once (${driver})`,
    { timeout: 60_000 },
    async () => {
      const f = new Fixture(driver);
      await f.app.createQueue(f.queue);
      await query(`CREATE TABLE ledger_${f.tag} (step uuid, attempt int)`);
      await query(`CREATE TABLE book_${f.tag} (n int)`);
      const first = program("worker", { DRIVER: driver, TAG: f.tag, CONCURRENCY: "3" });
      const handles = await Promise.all(
        Array.from({ length: 100 }, (_, n) =>
          f.app.start<number, number>(`w-${f.tag}`, `${n}-${f.tag}`, n, { queue: f.queue }),
        ),
      );
      await until(async () => ((await query(`SELECT count(*)::int AS n FROM ledger_${f.tag}`))[0]!.n as number) > 20);
      first.kill("SIGTERM");
      await once(first, "exit");
      assert.equal(first.exitCode, 0);
      const left = await query("SELECT status FROM durable.workflow WHERE queue_name = $1 AND status = 'RUNNING'", [
        f.queue,
      ]);
      assert.deepEqual(left, []);
      const second = program("worker", { DRIVER: driver, TAG: f.tag });
      for (const handle of handles) assert.ok((await handle.result({ timeout: 30 })) >= 0);
      assert.deepEqual(await query(`SELECT count(*)::int AS n, count(DISTINCT step)::int AS d FROM ledger_${f.tag}`), [
        { n: 500, d: 500 },
      ]);
      second.kill("SIGTERM");
      await once(second, "exit");
      await f.end();
    },
  );
}

both("handlers that are not known here are left alone", async (f) => {
  f.app.workflow(`w-${f.tag}`, () => 1);
  f.work();
  const unknown = await f.app.start(`unknown-${f.tag}`, `u-${f.tag}`, null, { queue: f.queue });
  const known = await f.app.start<void, number>(`w-${f.tag}`, `k-${f.tag}`, undefined, { queue: f.queue });
  assert.equal(await known.result({ timeout: 5 }), 1);
  assert.equal(await unknown.status(), "PENDING");
  await unknown.cancel();
});

test("two databases share the names by bucket, and a worker serves both", { timeout: 60_000 }, async () => {
  const names = ["a", "b"].map((letter) => `shard_${letter}_${process.pid}`);
  for (const name of names) await admin.query(`CREATE DATABASE ${name}`);
  const pools = names.map((database) => pool("pg", { database }));
  for (const one of pools) await (one as typeof admin).query("CREATE EXTENSION durable");
  const app = new App({ databases: { "0-2047": pools[0]!, "2048-4095": pools[1]! } });
  await app.createQueue("default");
  const w = app.workflow("w", async (ctx, n: number) => ctx.step("one", () => n));
  const worker = app.worker();
  const done = worker.run();
  const handles = await Promise.all(Array.from({ length: 20 }, (_, n) => w.start(`name ${n}`, n)));
  for (const [n, handle] of handles.entries()) {
    assert.equal(await handle.result({ timeout: 10 }), n);
    const [row] = (
      await admin.query("SELECT durable.bucket($1::text) AS name, durable.bucket($2::uuid) AS id", [
        `name ${n}`,
        handle.id,
      ])
    ).rows as { name: number; id: number }[];
    assert.deepEqual(row, { name: bucketOfName(`name ${n}`), id: bucketOfId(handle.id) });
    assert.equal((await app.attach(`name ${n}`)).id, handle.id);
  }
  for (const one of pools)
    assert.ok(((await (one as typeof admin).query("SELECT durable.count()::int AS n")).rows[0] as { n: number }).n > 3);
  worker.stop();
  await done;
  for (const one of pools) await one.end();
  for (const name of names) await admin.query(`DROP DATABASE ${name}`);
});

both("what waits too long for a result is a TimedOut, and many wait at once with few connections", async (f) => {
  const w = f.app.workflow(`w-${f.tag}`, async (ctx) => ctx.step("work", () => sleep(0.5)));
  f.work({ concurrency: 40 });
  const handles = await Promise.all(
    Array.from({ length: 30 }, (_, n) => w.start(`${n}-${f.tag}`, undefined, { queue: f.queue })),
  );
  await assert.rejects(handles[0]!.result({ timeout: 0.1 }), { name: "TimedOut" });
  await Promise.all(handles.map((handle) => handle.result({ timeout: 20 })));
});
