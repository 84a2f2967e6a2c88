import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { before, test } from "node:test";
import { promisify } from "node:util";
import pg from "pg";
import { App } from "../src";
import { bucketOfName } from "../src/app";
import { drivers, pool, query, restart, sleep, until } from "./support";

const run = promisify(execFile);

/** Names of the first half of the buckets. */
function names(prefix: string, count: number): string[] {
  const all = Array.from({ length: 20 * count }, (_, n) => `${prefix}-${n}`);
  return all.filter((name) => bucketOfName(name) < 2048).slice(0, count);
}

before(async () => {
  await query("ALTER SYSTEM SET wal_level = logical");
  await restart("fast");
});

for (const driver of drivers) {
  test(`workflows go on where their buckets have moved (${driver})`, { timeout: 120_000 }, async () => {
    const databases = ["from", "to"].map((which) => `moving_${driver}_${which}`);
    const [from, to] = databases as [string, string];
    const asking = databases.map((database) => new pg.Pool({ database, max: 2 }));
    const ask = async (which: number, text: string): Promise<unknown> =>
      ((await asking[which]?.query(text)) as pg.QueryResult<{ value: unknown }>).rows[0]?.value;
    for (const [n, database] of databases.entries()) {
      await query(`DROP DATABASE IF EXISTS ${database} WITH (FORCE)`);
      await query(`CREATE DATABASE ${database}`);
      await ask(n, "CREATE EXTENSION durable");
      await ask(n, `SELECT durable.set_buckets('{[${n * 2048},${(n + 1) * 2048})}') AS value`);
    }
    const [a, b] = databases.map((database) => pool(driver, { database }));
    assert.ok(a && b);
    const app = new App({ databases: { "0-2047": a, "2048-4095": b } });
    await app.createQueue("default");
    const ran: string[] = [];
    let hasMoved = false;
    const waits = app.workflow("waits", async (ctx) => {
      await ctx.step("first", () => void ran.push(ctx.name));
      const { payload } = await ctx.signal("go");
      return payload;
    });
    const works = app.workflow("works", async (ctx) => {
      return await ctx.step("long", async ({ attempt }) => {
        while (!hasMoved) await sleep(0.05);
        return attempt;
      });
    });
    const worker = app.worker({ patience: 1 });
    const working = worker.run();
    const all = names("w", 5);
    const handles = await Promise.all(all.map((name) => waits.start(name)));
    const [name = ""] = names("at-work", 1);
    const busy = await works.start(name);
    await until(async () =>
      (await Promise.all(handles.map((handle) => handle.history()))).every((h) => h.length === 2),
    );
    await until(async () => (await busy.history()).length === 1);
    await run(`${__dirname}/../../../scale/move-buckets`, [`dbname=${from}`, `dbname=${to}`, "0-2047"]);
    hasMoved = true;
    assert.ok((await Promise.all(handles.map((handle) => handle.signal("go", handle.id)))).every((sent) => sent));
    const results = await Promise.all(handles.map((handle) => handle.result({ timeout: 40 })));
    assert.deepEqual(
      results,
      handles.map(({ id }) => id),
    );
    assert.deepEqual(ran.sort(), all.sort(), "nothing was done twice");
    assert.equal(typeof (await busy.result({ timeout: 60 })), "number");
    assert.ok((await waits.start(names("new", 1)[0] ?? "")).created);
    assert.equal((await app.attach(all[0] ?? "")).id, handles[0]?.id);
    assert.equal(await ask(0, "SELECT count(*)::int AS value FROM durable.workflow"), 0);
    worker.stop();
    await working;
    for (const n of [0, 1]) assert.equal(await ask(n, "SELECT count(*)::int AS value FROM durable.check()"), 0);
    await Promise.all(asking.map((one) => one.end()));
    for (const one of [a, b]) await ("unsafe" in one ? one.end({ timeout: 1 }) : one.end());
  });
}
