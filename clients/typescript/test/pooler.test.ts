import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { after, before, test } from "node:test";
import { drivers, Fixture, query, until } from "./support";

const host = mkdtempSync(`${tmpdir()}/pooler`);
let pooler: ChildProcess;

before(async () => {
  pooler = spawn(`${__dirname}/../../conformance/pooler`, [host], { stdio: "ignore" });
  await until(() => existsSync(`${host}/.s.PGSQL.6544`) || pooler.exitCode !== null);
});
after(async () => {
  if (pooler.exitCode === null && pooler.kill("SIGTERM")) await once(pooler, "exit");
});

for (const driver of drivers) {
  test(`behind PgBouncer in transaction mode, without being told (${driver})`, { timeout: 60_000 }, async (t) => {
    if (pooler.exitCode === 77) {
      t.skip("there is no pgbouncer");
      return;
    }
    const f = new Fixture(driver, {}, { host, port: 6544 });
    const table = `ledger_${f.tag}`;
    await query(`CREATE TABLE ${table} (name text, pid int)`);
    await f.app.createQueue(f.queue);
    const runs: string[] = [];
    const half = f.app.workflow(`half-${f.tag}`, (_, n: number) => n / 2);
    const order = f.app.workflow(`order-${f.tag}`, async (ctx, n: number) => {
      runs.push(ctx.name);
      for (let i = 0; i < 4; i++) await ctx.step(`s${i}`, () => i);
      await ctx.transaction("book", (tx) =>
        f.sql(`INSERT INTO ${table} VALUES ($1, pg_backend_pid())`, [ctx.name], tx),
      );
      const part = await ctx.child("half", half, 2 * n, { queue: f.queue });
      const { payload } = await ctx.signal<number>("go");
      await ctx.emit("gone", payload);
      return part + payload;
    });
    // two workers: neither takes from the other what it drives
    const workers = [1, 2].map(() => f.work({ concurrency: 4, patience: 0.5 }));
    const handles = await Promise.all(
      Array.from({ length: 12 }, (_, n) => order.start(`o${n}-${f.tag}`, n, { queue: f.queue })),
    );
    const ids = handles.map(({ id }) => id);
    // all have a place, though there are more than places
    const waiting = "SELECT count(*)::int AS n FROM durable.workflow WHERE id = ANY ($1) AND executor_id IS NULL";
    await until(async () => (await query(`SELECT count(*)::int AS n FROM ${table}`))[0]?.n === 12);
    await until(async () => (await query(waiting, [ids]))[0]?.n === 12);
    const results = Promise.all(handles.map((handle) => handle.result({ timeout: 30 })));
    await Promise.all(handles.map((handle, n) => handle.signal("go", 100 * n)));
    assert.deepEqual(
      await results,
      handles.map((_, n) => 101 * n),
    );
    const events: unknown[] = [];
    for await (const { payload } of handles[1]!.events({ follow: true })) events.push(payload);
    assert.deepEqual(events, [100]);
    const [found] = await query(
      `SELECT count(*)::int AS books, count(DISTINCT pid)::int AS sessions,
        (SELECT count(*)::int FROM durable.executor WHERE executor_id = ANY ($1) AND bound IS NOT NULL) AS bound,
        (SELECT max(recovery_count)::int FROM durable.workflow WHERE id = ANY ($2)) AS recovered FROM ${table}`,
      [workers.map(({ executor }) => executor), ids],
    );
    assert.deepEqual(found, { books: 12, sessions: 2, bound: 0, recovered: 0 });
    // a drain hands back what runs
    const [last] = [await order.start(`last-${f.tag}`, 5, { queue: f.queue })];
    await until(async () => (await query(`SELECT count(*)::int AS n FROM ${table}`))[0]?.n === 13);
    await f.end();
    assert.deepEqual((await query(waiting, [[last.id]]))[0], { n: 1 });
    assert.deepEqual(f.log, []);
  });
}
