import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { silence } from "../src/sql";
import { Between, both, drivers, Fixture, history, program, query, restart, sleep, until } from "./support";

async function prepare(f: Fixture): Promise<void> {
  await f.app.createQueue(f.queue);
  await query(`CREATE TABLE ledger_${f.tag} (step uuid, attempt int)`);
  await query(`CREATE TABLE book_${f.tag} (n int)`);
}

/** Each step ran once for each attempt that began, and each transaction was committed once. */
async function verify(f: Fixture, count: number): Promise<number> {
  const [done] = await query(
    "SELECT count(*)::int AS n FROM durable.workflow WHERE queue_name = $1 AND status = 'COMPLETED'",
    [f.queue],
  );
  assert.equal(done?.n, count);
  const [twice] = await query(
    `SELECT count(*)::int AS n FROM (SELECT 1 FROM ledger_${f.tag} GROUP BY step, attempt HAVING count(*) > 1) t`,
  );
  assert.equal(twice?.n, 0, "an attempt ran twice");
  const [steps] = await query(`SELECT count(DISTINCT step)::int AS n, count(*)::int AS runs FROM ledger_${f.tag}`);
  assert.equal(steps?.n, 5 * count);
  assert.deepEqual(await query(`SELECT count(*)::int AS n, count(DISTINCT n)::int AS d FROM book_${f.tag}`), [
    { n: count, d: count },
  ]);
  return (steps?.runs as number) - 5 * count;
}

for (const driver of drivers) {
  test(
    `workers that are killed by SIGKILL, and sessions that are ended, lose and double nothing (${driver})`,
    { timeout: 90_000 },
    async () => {
      const f = new Fixture(driver);
      await prepare(f);
      const count = 150;
      const begin = () => program("worker", { DRIVER: driver, TAG: f.tag, FUSED: driver === "pg" ? "0" : "1" });
      let workers = [begin(), begin()];
      await Promise.all(
        Array.from({ length: count }, (_, n) => f.app.start(`w-${f.tag}`, `${n}-${f.tag}`, n, { queue: f.queue })),
      );
      const completed = async () =>
        (
          await query(
            "SELECT count(*)::int AS n FROM durable.workflow WHERE queue_name = $1 AND status = 'COMPLETED'",
            [f.queue],
          )
        )[0]?.n as number;
      for (const share of [0.2, 0.5]) {
        await until(async () => (await completed()) >= count * share, 30);
        const victim = workers.shift();
        victim?.kill("SIGKILL");
        workers = [...workers, begin()];
        await query(
          "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'CALL durable.wait_for_work%'",
        );
      }
      await until(async () => (await completed()) === count, 60);
      for (const worker of workers) worker.kill("SIGTERM");
      await Promise.all(workers.map((worker) => worker.exitCode ?? once(worker, "exit")));
      assert.ok(workers.every((worker) => worker.lines.includes("drained")));
      await verify(f, count);
      await f.end();
    },
  );
}

both("an answer that is lost is asked for again, and nothing is done twice", async (outer) => {
  const between = await new Between().listen();
  const f = new Fixture(outer.driver, {}, { host: "127.0.0.1", port: between.port });
  await prepare(f);
  for (const fused of [false, true]) {
    f.app.workflow(
      `w-${fused}-${f.tag}`,
      async (ctx) => {
        for (let i = 0; i < 2; i++) {
          await ctx.step(`step ${i}`, (step) =>
            query(`INSERT INTO ledger_${f.tag} VALUES ($1, $2)`, [step.id, step.attempt]).then(() => undefined),
          );
        }
        await ctx.transaction("book", (tx) => f.sql(`INSERT INTO book_${f.tag} VALUES ($1)`, [Number(fused)], tx));
        await ctx.sleep("nap", 0.01);
        await ctx.child("child", async (child) => child.step("inside", () => 1));
        return fused;
      },
      { fused },
    );
    const worker = f.work({ patience: 0 });
    let n = 0;
    for (const lost of [
      "durable.claim_from",
      "durable.claim_step",
      "durable.complete(",
      "COMMIT",
      "durable.sleep",
      "durable.suspend",
      "durable.start_child",
      "durable.history",
    ]) {
      between.lose(lost);
      const handle = await outer.app.start<void, boolean>(
        `w-${fused}-${f.tag}`,
        `${n++}-${fused}-${f.tag}`,
        undefined,
        { queue: f.queue },
      );
      assert.equal(await handle.result({ timeout: 15 }), fused, lost);
      assert.deepEqual(
        (await history(handle.id)).map((row) => [row.name, row.status, row.attempt]),
        [
          ["step 0", "COMPLETED", 1],
          ["step 1", "COMPLETED", 1],
          ["book", "COMPLETED", 1],
          ["nap", "COMPLETED", 1],
          ["child", "COMPLETED", 1],
        ],
      );
    }
    worker.stop();
    assert.ok(between.lost > 0, `${between.lost} lost`);
  }
  const [book] = await query(`SELECT count(*)::int AS n FROM book_${f.tag}`);
  assert.equal(book?.n, 16);
  const [twice] = await query(
    `SELECT count(*)::int AS n FROM (SELECT 1 FROM ledger_${f.tag} GROUP BY step HAVING count(*) > 1) t`,
  );
  assert.equal(twice?.n, 0);
  await f.end();
  between.close();
});

both("a transaction whose connection is lost refuses to go on, and is done again", async (f) => {
  await query(`CREATE TABLE book_${f.tag} (n int)`);
  const seen: unknown[] = [];
  const w = f.app.workflow(`w-${f.tag}`, async (ctx) =>
    ctx.transaction("book", async (tx, step) => {
      const insert = () => f.sql(`INSERT INTO book_${f.tag} VALUES ($1)`, [step.attempt], tx);
      await insert();
      if (seen.length === 0) {
        const [backend] = await f.sql("SELECT pg_backend_pid() AS pid", [], tx);
        await query("SELECT pg_terminate_backend($1, 1000)", [backend?.pid]);
        for (let i = 0; i < 3; i++) seen.push(await insert().catch((error: unknown) => error));
      }
      return "done";
    }),
  );
  f.work();
  const handle = await w.start(`w-${f.tag}`, undefined, { queue: f.queue });
  assert.equal(await handle.result({ timeout: 20 }), "done");
  assert.equal(seen.length, 3);
  assert.ok(seen.every((error) => error instanceof Error));
  assert.deepEqual(await query(`SELECT n FROM book_${f.tag}`), [{ n: 1 }]);
});

both("connections that fall silent are given up, and the work goes on", async (outer) => {
  const between = await new Between().listen();
  const f = new Fixture(outer.driver, {}, { host: "127.0.0.1", port: between.port });
  await f.app.createQueue(f.queue);
  f.app.workflow(`w-${f.tag}`, async (ctx) => {
    await ctx.step("before", () => 1);
    await ctx.step("silence", () => between.silence());
    await ctx.transaction("after", () => Promise.resolve());
    return "done";
  });
  silence.seconds = 1;
  try {
    f.work();
    for (let n = 0; n < 2; n++) {
      const handle = await outer.app.start<void, string>(`w-${f.tag}`, `${n}-${f.tag}`, undefined, { queue: f.queue });
      assert.equal(await handle.result({ timeout: 20 }), "done");
    }
    between.cut();
    await f.end();
  } finally {
    silence.seconds = 60;
    between.close();
  }
});

for (const driver of drivers) {
  test(`a server that restarts under load ends nothing (${driver})`, { timeout: 90_000 }, async () => {
    const f = new Fixture(driver);
    await prepare(f);
    let ran = 0;
    const w = f.app.workflow(`w-${f.tag}`, async (ctx, n: number) => {
      for (let i = 0; i < 5; i++) {
        await ctx.step(`step ${i}`, async (step) => {
          ran++;
          await query(`INSERT INTO ledger_${f.tag} VALUES ($1, $2)`, [step.id, step.attempt]);
        });
      }
      await ctx.transaction("book", (tx) => f.sql(`INSERT INTO book_${f.tag} VALUES ($1)`, [n], tx));
      return n;
    });
    const count = 60;
    const handles = await Promise.all(
      Array.from({ length: count }, (_, n) => w.start(`${n}-${f.tag}`, n, { queue: f.queue })),
    );
    const worker = f.work({ concurrency: 20 });
    for (const mode of ["immediate", "fast"] as const) {
      await until(() => ran > (mode === "fast" ? 150 : 30));
      await restart(mode);
    }
    for (const handle of handles) {
      for (;;) {
        const result = await handle.result({ timeout: 30 }).catch((error: unknown) => error);
        if (!(result instanceof Error)) break;
        assert.doesNotMatch(String(result), /Failed|TimedOut/);
        await sleep(0.1);
      }
    }
    assert.ok((await verify(f, count)) <= 40);
    worker.stop();
    await f.end();
  });
}
