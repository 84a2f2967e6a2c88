/** The runner of the conformance cases: `runner.ts CASE.json` (clients/conformance/README.md). */
import { readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";
import postgres from "postgres";
import { App, DurableError, Failed, Fatal, RetryAfter } from "../src";
import type { AnyPool, Context, Pending, Retry, Step, Workflow } from "../src";

type Json = string | number | boolean | null | Json[] | { [key: string]: Json };
type Operation = Record<string, Json> & { fault?: Record<string, string>; retry?: Retry & Json };
type Results = Map<string, Json>;
interface Case {
  programs: Record<string, Operation[]>;
}

const QUEUE = "conformance";
const KINDS =
  "result step transaction sleep signal callback child map gather first emit patched uuid random now count_down fail return".split(
    " ",
  );

class Boom extends Error {
  override name = "Boom";
  constructor(
    message: string,
    readonly detail?: Json,
  ) {
    super(message);
  }
}

/** What is not the client's business goes by a connection of its own. */
async function direct(text: string, values: unknown[]): Promise<Record<string, unknown> | undefined> {
  const settings = [...(process.env.CONFORMANCE_DIRECT ?? "").matchAll(/(\w+)=(\S+)/g)];
  const { host, port, dbname: database, user } = Object.fromEntries(settings.map(([, key, value]) => [key, value]));
  const client = new pg.Client({ host, port: Number(port), database, user });
  client.on("error", () => undefined);
  try {
    await client.connect();
    return ((await client.query(text, values)).rows as Record<string, unknown>[])[0];
  } finally {
    await client.end().catch(() => undefined);
  }
}

async function persistently(text: string, values: unknown[]): Promise<Record<string, unknown> | undefined> {
  for (;;) {
    try {
      return await direct(text, values);
    } catch {
      await delay(100);
    }
  }
}

async function fault(operation: Operation, name: string, when: string): Promise<void> {
  const kind = operation.fault?.[when];
  if (kind === undefined) return;
  for (;;) {
    const row = await direct("SELECT conformance.fault($1, $2) AS struck", [`${name}:${when}`, kind]).catch(
      () => undefined,
    );
    if (row?.struck === true || (row && kind === "drain")) return;
    await delay(1000);
  }
}

/** The kind of an operation, and its name. */
function named(operation: Operation): [kind: string, name: string] {
  const kind = KINDS.find((one) => one in operation) ?? "";
  const value = operation[kind];
  const name = kind === "signal" && Array.isArray(value) ? value.join("|") : String(value);
  return [kind, kind === "gather" || kind === "first" ? kind : name];
}

function filled(value: Json | undefined, results: Results): Json {
  if (Array.isArray(value)) return value.map((item) => filled(item, results));
  if (typeof value !== "object" || value === null) return value ?? null;
  if (typeof value.$ === "string") return results.get(value.$) ?? null;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, filled(item, results)]));
}

function caught(error: unknown): Json {
  if (!(error instanceof DurableError)) throw error;
  if (!(error instanceof Failed)) return { caught: error.name };
  return { caught: "Failed", type: error.type, message: error.message, attempts: error.attempts };
}

class Program {
  constructor(
    private readonly ctx: Context,
    private readonly workflows: Map<string, Workflow<Json, Json>>,
    private readonly results: Results,
  ) {}

  /** What `return` gives, in a box; nothing if the program goes on. */
  async run(operations: Operation[]): Promise<{ value: Json } | undefined> {
    for (const operation of operations) {
      const [kind, name] = named(operation);
      if (kind === "return") return { value: filled(operation.return, this.results) };
      if (kind === "fail") throw operation.fatal ? new Fatal(name) : new Boom(name);
      if (kind !== "step" && kind !== "transaction") await fault(operation, name, "before");
      try {
        const result = await this.perform(kind, name, operation);
        this.results.set(String(operation.as ?? name), result);
        if (kind === "patched") {
          const done = await this.run((result ? operation.then : operation.else) as Operation[]);
          if (done) return done;
        }
      } catch (error) {
        if (!operation.catch) throw error;
        this.results.set(String(operation.as ?? name), caught(error));
      }
      await fault(operation, name, "after");
    }
    return undefined;
  }

  private async perform(kind: string, name: string, operation: Operation): Promise<Json> {
    const { ctx } = this;
    const options = { retry: operation.retry, timeout: operation.timeout as number | undefined };
    switch (kind) {
      case "step":
        return await ctx.step(name, (step) => this.effect(name, operation, step), options);
      case "transaction":
        return await ctx.transaction(
          name,
          async (tx, step) => {
            const written = JSON.stringify(filled(operation.writes, this.results));
            const text = "INSERT INTO conformance.rows (name, value) VALUES ($1, $2::text::jsonb)";
            if ("unsafe" in tx) await tx.unsafe(text, [name, written]);
            else await tx.query(text, [name, written]);
            return await this.effect(name, operation, step);
          },
          options,
        );
      case "map": {
        const failures = (operation.fail ?? {}) as Record<string, number>;
        const items = (filled(operation.items, this.results) as Json[]).map((item, index) => ({ item, index }));
        const one = ({ item, index }: { item: Json; index: number }, step: Step): Promise<Json> =>
          this.effect(
            `${name}[${index}]`,
            { returns: item, fail: failures[String(index)] ?? 0, fault: operation.fault } as Operation,
            step,
            name,
          );
        return await ctx.map(name, items, one, {
          ...options,
          concurrency: operation.concurrency as number | undefined,
        });
      }
      case "result": {
        const workflow = this.workflows.get(String(operation.program)) as Workflow<Json, Json>;
        const input = filled(operation.input, this.results);
        return await ctx.step(name, async () => (await workflow.start(name, input)).result({ timeout: 30 }));
      }
      case "gather": {
        const waits = (operation.gather as Operation[]).map((part) => this.begin(part));
        return await ctx.gather(waits);
      }
      case "first": {
        const parts = operation.first as Operation[];
        const waits = parts.map((part) => this.begin(part));
        const found = await ctx.first(waits, operation.as === undefined ? {} : { name: String(operation.as) });
        return String(parts[found.index]?.as ?? named(parts[found.index] as Operation)[1]);
      }
      case "emit":
        return await ctx.emit(name, filled(operation.payload, this.results));
      case "patched":
        return await ctx.patched(name);
      case "uuid":
        return ctx.uuid();
      case "random":
        return ctx.random();
      case "now":
        return (await ctx.now()).toISOString();
      case "count_down":
        return typeof ctx.input === "number" && ctx.input > 0 ? ctx.continueAs(ctx.input - 1) : null;
      default:
        return await this.begin(operation);
    }
  }

  private begin(operation: Operation): Pending<Json> {
    const { ctx, results } = this;
    const [kind, name] = named(operation);
    const options = { timeout: operation.timeout as number | undefined };
    if (kind === "sleep") return ctx.sleep(name, operation.seconds as number);
    if (kind === "callback") return ctx.callback<Json>(name, options);
    if (kind === "signal") {
      return ctx
        .signal<Json>(operation.signal as string | string[], options)
        .map(({ name: signal, payload }) => ({ signal, payload }));
    }
    if (kind !== "child") throw new Error(`unknown operation ${JSON.stringify(operation)}`);
    const workflow = this.workflows.get(String(operation.program)) as Workflow<Json, Json>;
    return ctx.child(name, workflow, filled(operation.input, results), {
      ...options,
      queue: operation.queue ? QUEUE : undefined,
    });
  }

  /** The outside effect of a step, and how it ends. */
  private async effect(name: string, operation: Operation, step: Step, operationName = name): Promise<Json> {
    await fault(operation, operationName, "before");
    const value = filled(operation.returns, this.results);
    const text = "INSERT INTO conformance.ledger (name, step_id, attempt, value) VALUES ($1, $2, $3, $4::jsonb)";
    await persistently(text, [name, step.id, step.attempt, JSON.stringify(value)]);
    await fault(operation, operationName, "in");
    if (operation.takes) await delay((operation.takes as number) * 1000);
    if (step.attempt > Number(operation.fail ?? 0)) return value;
    const message = String(operation.error ?? "boom");
    if (operation.fatal) throw new Fatal(message, operation.detail);
    if (operation.after !== undefined) throw new RetryAfter(operation.after as number, message, operation.detail);
    throw new Boom(message, operation.detail);
  }
}

async function main(): Promise<void> {
  const { programs } = JSON.parse(readFileSync(process.argv[2] as string, "utf8")) as Case;
  const { CONFORMANCE_NAME: executor = "typescript", PGHOST: host, PGUSER: user, PGDATABASE: database } = process.env;
  const pool: AnyPool =
    process.env.DURABLE_DRIVER === "postgres"
      ? postgres({
          host,
          port: Number(process.env.PGPORT ?? 5432),
          user,
          database,
          connection: { application_name: executor },
          fetch_types: false,
          onnotice: () => undefined,
        })
      : new pg.Pool({ application_name: executor });
  const app = new App({ pool });
  const workflows = new Map<string, Workflow<Json, Json>>();
  for (const [name, operations] of Object.entries(programs)) {
    const run = async (ctx: Context, input: Json): Promise<Json> => {
      const done = await new Program(ctx, workflows, new Map([["input", input]])).run(operations);
      return done?.value ?? null;
    };
    workflows.set(name, app.workflow(name, run, { queue: QUEUE, fused: process.env.DURABLE_FUSED === "1" }));
  }
  await app.run({ queues: [QUEUE], executor, patience: 1 });
  process.exit(0);
}

void main();
