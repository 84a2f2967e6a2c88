import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";
import { trace } from "@opentelemetry/api";
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from "@opentelemetry/sdk-trace-base";
import { App, Failed, idGenerator, replay, TestContext, TimedOut, type Handle, type Json } from "../src";
import { failure, isTransient } from "../src/errors";
import { fields } from "../src/sql";
import { both, query } from "./support";

test("fields of a row as PostgreSQL writes it", async () => {
  const values = ["a", null, "", 'x"y', "back\\slash", "com,ma (par)", " ", '{"a": "\\"q\\" \\\\ "}'];
  const [row] = await query(
    "SELECT ROW($1::text, $2::text, $3::text, $4::text, $5::text, $6::text, $7::text, $8::text)::text AS r",
    values,
  );
  assert.deepEqual(fields(row?.r as string), values);
});

test("recorded failures, and what is transient", () => {
  assert.ok(failure("s", "WF013: wait has timed out") instanceof TimedOut);
  assert.equal(failure("s", "WF017: cancel requested: no").name, "Cancelled");
  const failed = failure("s", "Boom: it: went\noff", null, 2) as Failed;
  assert.deepEqual(
    [failed.name, failed.type, failed.message, failed.attempts, String(failed)],
    ["s", "Boom", "it: went\noff", 2, "s: it: went\noff"],
  );
  assert.ok(isTransient(Object.assign(new Error("x"), { severity: "FATAL", code: "57P01" })));
  assert.ok(isTransient(Object.assign(new Error("x"), { code: "ECONNREFUSED" })));
  assert.ok(!isTransient(Object.assign(new Error("x"), { severity: "ERROR", code: "23505" })));
  assert.ok(!isTransient(new TypeError("x is not a function")));
});

const offline = new App({ databases: {} });
const order = offline.workflow("order", async (ctx, item: string) => {
  const shelf = await ctx.step("reserve", () => ({ shelf: 12 }), { retry: 2 });
  const paid = await ctx.step("charge", () => "receipt").catch((error: unknown) => (error as Failed).type);
  const answer = await ctx.signal<{ by: string }, "yes" | "no">(["yes", "no"], { timeout: "3 days" });
  await ctx.sleep("cool down", "1 day");
  await ctx.emit("done", { item });
  const label = await ctx.callback<string>("label");
  return { shelf: shelf.shelf, paid, answer: answer.name, label };
});

test("TestContext runs a workflow in memory", async () => {
  const ctx = new TestContext({
    signals: [["no", { by: "Ann" }]],
    failures: { reserve: 2, charge: new RangeError("no money") },
    answers: { label: "L-1" },
  });
  assert.deepEqual(await ctx.run(order, "book"), { shelf: 12, paid: "RangeError", answer: "no", label: "L-1" });
  assert.deepEqual(
    ctx.history.map((row) => [row.name, row.status]),
    [
      ["reserve", "COMPLETED"],
      ["charge", "FAILED"],
      ["yes|no", "COMPLETED"],
      ["cool down", "COMPLETED"],
      ["emit:done", "COMPLETED"],
      ["label", "COMPLETED"],
    ],
  );
  assert.deepEqual(ctx.events, [{ topic: "done", payload: { item: "book" } }]);
  await assert.rejects(new TestContext().run(order, "book"), Failed); // nobody has sent the signal
});

test("replay names the first position at which a changed program differs", async () => {
  const ctx = new TestContext({ signals: [["yes"]] });
  await ctx.run(order, "book");
  assert.equal(await replay(order, ctx.history, "book"), undefined);
  assert.equal(await replay(order, ctx.history.slice(0, 2), "book"), undefined, "a record may stop anywhere");
  const changed = {
    handler: "order",
    run: (async (c: Parameters<typeof order.run>[0], item: string) => {
      await c.step("reserve", () => item);
      await c.step("pay", () => 1);
    }) as never,
  };
  assert.deepEqual(await replay(changed as never, ctx.history, "book"), {
    sequence: 1,
    message: 'position 1 is STEP "charge", not STEP "pay"',
  });
  const shorter = {
    handler: "order",
    run: async (c: Parameters<typeof order.run>[0]) => void (await c.step("reserve", () => 1)),
  };
  assert.equal((await replay(shorter as never, ctx.history, "book"))?.sequence, 1);
});

test("types flow from a workflow to its handle", () => {
  const app = new App({ databases: {} });
  const typed = app.workflow("typed", async (ctx, input: { n: number }) => {
    const date = await ctx.step("date", () => new Date());
    date satisfies string;
    const both = await ctx.gather([ctx.step("a", () => 1), ctx.sleep("b", 1)]);
    both satisfies [number, null];
    const child = await ctx.child("child", other, "text");
    child satisfies { length: number };
    // @ts-expect-error -- the child's input is a string
    void (() => ctx.child("child", other, 7));
    return { n: input.n, at: new Date(), nothing: undefined };
  });
  const other = app.workflow("other", async (_, text: string) => ({ length: text.length }));
  const use = async (): Promise<void> => {
    const handle = await typed.start("name", { n: 1 });
    handle satisfies Handle<{ n: number; at: Date; nothing: undefined }>;
    const result = await handle.result();
    result satisfies { n: number; at: string; nothing: null };
    // @ts-expect-error -- the input has a number
    await typed.start("name", { n: "1" });
    // @ts-expect-error -- a Date comes back as a string
    result.at satisfies Date;
  };
  assert.equal(typeof use, "function");
});

test("both module systems have the same classes", () => {
  const script = `
    import * as esm from "durable-client";
    import { createRequire } from "node:module";
    const cjs = createRequire(import.meta.url)("durable-client");
    console.log(esm.App === cjs.App && esm.Failed === cjs.Failed, Object.keys(cjs).every((name) => name in esm));`;
  const out = execFileSync(process.execPath, ["--input-type=module", "-e", script], {
    cwd: `${__dirname}/..`,
  }).toString();
  assert.equal(out.trim(), "true true");
});

both("spans have the ids of the workflow and its steps, one an attempt, and none on a replay", async (f) => {
  const exporter = new InMemorySpanExporter();
  trace.disable();
  trace.setGlobalTracerProvider(
    new BasicTracerProvider({ idGenerator, spanProcessors: [new SimpleSpanProcessor(exporter)] }),
  );
  const app = new App({ pool: f.pool });
  const w = app.workflow(`w-${f.tag}`, async (ctx) => {
    await ctx.step(
      "one",
      (step) => {
        if (step.attempt === 1) throw new Error("again");
      },
      { retry: 1 },
    );
    await ctx.sleep("nap", 0.1);
    await ctx.step("two", () => 2);
  });
  const worker = app.worker({ queues: [f.queue], patience: 0 });
  const done = worker.run();
  const handle = await w.start(`n-${f.tag}`, undefined, { queue: f.queue });
  await handle.result({ timeout: 10 });
  worker.stop();
  await done;
  const spans = exporter.getFinishedSpans();
  assert.deepEqual(
    spans.map((span) => [span.name, span.attributes["durable.attempt.number"] ?? null]),
    [
      ["one", 1],
      ["one", 2],
      ["two", 1],
      [`n-${f.tag}`, null],
    ],
  );
  const id = handle.id.replaceAll("-", "");
  assert.ok(
    spans.every((span) => span.spanContext().traceId === id && span.attributes["durable.workflow.id"] === handle.id),
  );
  assert.equal(spans[2]?.spanContext().spanId, `${id.slice(16, 26)}000003`);
  assert.equal(spans[2]?.parentSpanContext?.spanId, spans[3]?.spanContext().spanId);
});

both("a codec replaces what is written", async (f) => {
  const codec = {
    encode: (value: unknown): unknown => (typeof value === "bigint" ? { big: value.toString() } : value),
    decode: (value: unknown): unknown =>
      (value as { big?: string } | null)?.big === undefined ? value : BigInt((value as { big: string }).big),
  };
  const app = new App({ pool: f.pool, codec });
  const w = app.workflow(
    `w-${f.tag}`,
    async (ctx, n: bigint) => (await ctx.step("double", () => (n * 2n) as unknown as Json)) as unknown as bigint,
  );
  const worker = app.worker({ queues: [f.queue] });
  const done = worker.run();
  const handle = await w.start(`n-${f.tag}`, 2n ** 70n, { queue: f.queue });
  assert.equal(await handle.result({ timeout: 10 }), 2n ** 71n);
  worker.stop();
  await done;
});
