import { setTimeout as pause } from "node:timers/promises";
import { Batcher } from "./batch";
import type { Program, Retry, WorkflowFunction } from "./context";
import { policy } from "./context";
import { Cancelled, DurableError, failure, isTransient, TimedOut } from "./errors";
import { Serializer, type Codec, type Recorded } from "./json";
import * as sql from "./sql";
import { Telemetry } from "./telemetry";
import { Worker, type WorkerOptions } from "./worker";

type AnyPool = sql.AnyPool;
type Api = ConstructorParameters<typeof Telemetry>[0];

export interface AppOptions<P extends AnyPool> {
  /** A `pg.Pool`, or a postgres.js `sql`. */
  pool?: P;
  /** Instead of one pool: which database has which buckets, as `{ "0-2047": a, "2048-4095": b }`. */
  databases?: Record<string, P>;
  codec?: Codec;
  /** Work that was started with it is done by workers with the same one, or none. */
  version?: string;
  logger?: Pick<Console, "info" | "warn" | "error">;
  /** The API of OpenTelemetry, if it is not to be looked for. */
  telemetry?: Api;
}

export interface WorkflowOptions {
  /** Where its runs wait for a worker, unless `start` says otherwise. */
  queue?: string;
  /** Whether a step's outcome is recorded with the claim of the next step: one round trip and one commit a step. What it
   * gives up: a crash between a step's end and the next claim runs that step again. */
  fused?: boolean;
}

export interface StartOptions {
  queue?: string;
  priority?: number;
  runAt?: Date;
  timeout?: sql.Duration;
  maxRecoveryAttempts?: number;
  concurrencyKey?: string;
  tags?: Record<string, unknown>;
  ifActive?: "attach" | "refuse" | "replace";
  ifFinished?: "start" | "start_after_failure" | "return";
  /** Retries of the whole workflow. */
  retry?: Retry | number;
  /** The caller's own connection or transaction: the start commits with it. */
  tx?: sql.Connection;
}

/** A program that was registered, with the types of its input and output. */
export class Workflow<I, O, P extends AnyPool = AnyPool> implements Program<I, O, P> {
  /** @internal */
  constructor(
    private readonly app: App<P>,
    readonly handler: string,
    readonly run: WorkflowFunction<I, O, P>,
    readonly options: WorkflowOptions,
  ) {}

  /** Starts it under a name, or finds the active one of that name. */
  start(name: string, input?: I, options: StartOptions = {}): Promise<Handle<O>> {
    return this.app.start(this, name, input, options);
  }
}

/** A workflow, as its client sees it. */
export class Handle<O = unknown> {
  /** @internal */
  constructor(
    private readonly app: App<never>,
    readonly id: string,
    /** Whether this call has made it. */
    readonly created: boolean = false,
  ) {}

  private async ask(name: string, args: sql.Args, tx?: sql.Connection): Promise<string | null> {
    const [row] = await this.app.ask(tx ?? this.id, name, args);
    return row?.value ?? null;
  }

  async status(): Promise<string> {
    return (await this.ask("status", { task_id: this.id })) ?? "";
  }

  /**
   * Waits for its end, and that of the runs in which it goes on (so many seconds), and returns the output; throws
   * `Failed`, `Cancelled`, or `TimedOut`.
   */
  async result(options: number | { timeout?: number } = {}): Promise<Recorded<O>> {
    const { timeout = Infinity } = typeof options === "number" ? { timeout: options } : options;
    const until = performance.now() + timeout * 1000;
    let run = this.id;
    for (let most = 0; ; most = 30) {
      const left = Math.max(0, (until - performance.now()) / 1000);
      const end = await this.app.wait(run, "wait_for_end", { task_id: run, timeout: Math.min(left, most) });
      if (end.status === "COMPLETED") {
        // who goes on has no output
        const [next] = end.output === null ? await this.app.ask(run, "continued_as", { workflow_id: run }) : [];
        if (next?.value) {
          run = next.value;
          continue;
        }
        const [row] = await this.app.ask(run, "output", { task_id: run });
        return this.app.serializer.read(row?.value) as Recorded<O>;
      } else if (end.status === "CANCELLED") {
        throw new Cancelled(`workflow ${run} was cancelled`);
      } else if (end.status === "FAILED") {
        throw failure(run, end.error as string | null);
      } else if (left === 0) {
        throw new TimedOut(`workflow ${run} is ${String(end.status)} after ${timeout} s`);
      }
    }
  }

  /** With a key, a signal that is sent again is not taken twice: false. */
  async signal(name: string, payload?: unknown, options: { key?: string; tx?: sql.Connection } = {}): Promise<boolean> {
    const text = this.app.serializer.write(payload, `signal "${name}"`).text;
    const args = { workflow_id: this.id, name, payload: sql.json(text), key: options.key };
    return (await this.ask("signal", args, options.tx)) === "true";
  }

  /** What it has said so far; with `follow`, also what it says until it is finished. */
  async *events(options: { topic?: string; after?: number; follow?: boolean } = {}): AsyncGenerator<Event> {
    const args = { workflow_id: this.id, topic: options.topic };
    for (let after = options.after ?? 0, isOver = !options.follow; ;) {
      const rows = await this.app.ask(this.id, "events", { ...args, after });
      for (const row of rows) {
        after = Number(row.n);
        const payload = this.app.serializer.read(row.payload);
        yield { n: after, topic: row.topic ?? "", payload, emittedAt: new Date(row.emitted_at ?? "") };
      }
      if (rows.length > 0) continue;
      if (isOver) return;
      isOver = /COMPLETED|FAILED|CANCELLED/.test(await this.status()); // then once more, for what came meanwhile
      if (!isOver) await this.app.wait(this.id, "wait_for_event", { ...args, after, timeout: 10 });
    }
  }

  /** What it has recorded: for `replay`, say. */
  history(): Promise<sql.Row[]> {
    return this.app.ask(this.id, "history", { workflow_id: this.id });
  }

  /** Cancels it, and all below it, at once. */
  async cancel(): Promise<number> {
    return Number(await this.ask("cancel_tree", { workflow_id: this.id }));
  }
  /** Asks it to end by itself: it gets `Cancelled` once, and may clean up; after `grace` it is cancelled. */
  async requestCancel(reason?: string, grace?: sql.Duration): Promise<number> {
    return Number(await this.ask("request_cancel", { workflow_id: this.id, reason, grace: sql.interval(grace) }));
  }
  /**
   * A new run with copies of what it has recorded before that position, whatever its status. Name and input are its
   * own unless given.
   */
  async fork(fromSequence: number, options: ForkOptions): Promise<Handle<O>> {
    const { name, input, queue, runAt } = options;
    const written = input === undefined ? undefined : this.app.serializer.write(input, "input of a fork").text;
    const [row] = await this.app.ask(this.id, "fork", {
      workflow_id: this.id,
      from_sequence: fromSequence,
      name,
      input: written === undefined ? undefined : sql.json(written ?? "null"),
      queue,
      run_at: runAt,
      app_version: this.app.options.version,
    });
    return new Handle<O>(this.app, row?.workflow_id ?? "", true);
  }
  /** Runs it again after it has failed, from its last completed step, or from that position. */
  async retry(fromSequence?: number): Promise<void> {
    await this.ask("resume_failed", { workflow_id: this.id, from_sequence: fromSequence });
  }
  async pause(): Promise<number> {
    return Number(await this.ask("pause_tree", { workflow_id: this.id }));
  }
  async resume(): Promise<number> {
    return Number(await this.ask("resume_tree", { workflow_id: this.id }));
  }
}

export interface ForkOptions {
  /** Whose workers run it. */
  queue: string;
  name?: string;
  input?: unknown;
  runAt?: Date;
}

export interface Event {
  n: number;
  topic: string;
  payload: unknown;
  emittedAt: Date;
}

/** A database and the buckets that it has. */
export interface Shard {
  ranges: [first: number, last: number][];
  database: sql.Database;
  batcher: Batcher;
}

const ALL = "0-4095";
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
/** So many times, some 10 s, a handle that waits tries a server that cannot be reached. */
const OUTAGE = 50;
/** Buckets that move from one database to another are in none of them for less than that (ms). */
const MOVING = 5000;

/** Programs, and the database that they run on. */
export class App<P extends AnyPool = AnyPool> {
  readonly workflows = new Map<string, Workflow<never, unknown, P>>();
  readonly serializer: Serializer;
  readonly telemetry: Telemetry;
  readonly logger: Pick<Console, "info" | "warn" | "error">;
  readonly shards: readonly Shard[];
  private waiting = 0;

  constructor(readonly options: AppOptions<P>) {
    this.serializer = new Serializer(options.codec);
    this.telemetry = new Telemetry(options.telemetry);
    this.logger = options.logger ?? console;
    const pools = options.databases ?? (options.pool ? { [ALL]: options.pool } : {});
    this.shards = Object.entries(pools).map(([range, pool]) => {
      const [first = NaN, last = first] = range.split("-").map(Number);
      const database = sql.database(pool);
      const batcher = new Batcher((name, args) => sql.ask(database.query, name, args));
      return { ranges: [[first, last]], database, batcher };
    });
  }

  /** Registers a program under the name that its runs are recorded with. */
  workflow<I = void, O = void>(
    handler: string,
    run: WorkflowFunction<I, O, P>,
    options: WorkflowOptions = {},
  ): Workflow<I, O, P> {
    if (this.workflows.has(handler)) throw new Error(`there is a workflow "${handler}" already`);
    const workflow = new Workflow(this, handler, run, options);
    this.workflows.set(handler, workflow);
    return workflow;
  }

  /** Starts a workflow, known by its program or by the name of its handler. */
  async start<I, O>(
    workflow: Workflow<I, O, P> | string,
    name: string,
    input?: I,
    options: StartOptions = {},
  ): Promise<Handle<O>> {
    const known = typeof workflow === "string" ? this.workflows.get(workflow) : workflow;
    const args = {
      name,
      input: sql.json(this.serializer.write(input, `input of "${name}"`).text),
      handler: known?.handler ?? (workflow as string),
      queue: options.queue ?? known?.options.queue ?? "default",
      priority: options.priority,
      run_at: options.runAt,
      timeout: sql.interval(options.timeout),
      max_recovery_attempts: options.maxRecoveryAttempts,
      app_version: this.options.version,
      concurrency_key: options.concurrencyKey,
      if_active: options.ifActive,
      if_finished: options.ifFinished,
      tags: options.tags && sql.json(JSON.stringify(options.tags)),
      ...policy(options.retry),
    };
    const begin = () => this.route(bucketOfName(name), ({ batcher }) => batcher.call("start", args));
    const [row] = options.tx
      ? await this.ask(options.tx, "start", args)
      : [
          await begin().catch(async (error: unknown) => {
            if ((error as DurableError).code !== "WF012") throw error;
            await this.createQueue(args.queue).catch(() => undefined); // who may not is told again that there is none
            return await begin();
          }),
        ];
    return new Handle<O>(this as never, row?.workflow_id ?? "", row?.created === "t");
  }

  /** A workflow that is there: the latest of a name, or by its id. */
  async attach<O = unknown>(workflow: string): Promise<Handle<O>> {
    const text = "SELECT id FROM durable.list(name => $1::text, root_only => true, max_rows => 1)";
    const [row] = await this.route(bucketOfName(workflow), ({ database }) => database.query(text, [workflow]));
    if (!row && !UUID.test(workflow)) throw new DurableError(`there is no workflow "${workflow}"`, "WF001");
    return new Handle<O>(this as never, (row?.id ?? workflow) as string);
  }

  /** Sends a signal to the active workflow of that name. */
  async signal(name: string, signal: string, payload?: unknown, options: { key?: string; tx?: sql.Connection } = {}) {
    const text = this.serializer.write(payload, `signal "${signal}"`).text;
    const args = { name, signal, payload: sql.json(text), key: options.key };
    const [row] = await this.ask(options.tx ?? bucketOfName(name), "signal_root", args);
    return row?.value === "true";
  }

  /** Answers a callback by its token, with a value or with an error. */
  async answer(
    token: string,
    value?: unknown,
    options: { error?: string; tx?: sql.Connection } = {},
  ): Promise<boolean> {
    const output = sql.json(this.serializer.write(value, "answer").text);
    const [row] = await this.ask(options.tx ?? token, "answer", { step_id: token, output, error: options.error });
    return row?.value === "true";
  }

  /** Creates a queue in every database, with limits, say: those that are missing are made by `start` and by a worker. */
  async createQueue(name: string, options: QueueOptions = {}): Promise<void> {
    const args = {
      name,
      max_concurrency: options.maxConcurrency,
      rate_limit: options.rateLimit,
      rate_limit_window: sql.interval(options.rateLimitWindow),
      key_concurrency: options.keyConcurrency,
      fair: options.fair,
      if_exists: options.ifExists ?? "keep",
    };
    for (const { database } of this.shards) await sql.ask(database.query, "create_queue", args);
  }

  worker(options: WorkerOptions = {}): Worker {
    return new Worker(this as never, options);
  }

  /** Works until SIGTERM or SIGINT: then it drains. */
  async run(options: WorkerOptions = {}): Promise<void> {
    await this.worker({ signals: true, ...options }).run();
  }

  // ---- for handles ----------------------------------------------------------------------------

  /**
   * A call to the database that has the bucket. Where it has moved, the call was refused, so nothing was done: who has
   * what is asked anew, and it is made again.
   */
  private async route<T>(bucket: number, call: (shard: Shard) => Promise<T>): Promise<T> {
    const isOwner = ({ ranges }: Shard) => ranges.some(([first, last]) => first <= bucket && bucket <= last);
    for (const until = performance.now() + MOVING; ;) {
      const shard = this.shards.find(isOwner) ?? this.shards[0];
      if (!shard) throw new Error("the app has neither a pool nor databases");
      try {
        return await call(shard);
      } catch (error) {
        if ((error as { code?: unknown }).code !== "WF016" || performance.now() > until) throw error;
      }
      await pause(50 + Math.random() * 100);
      await Promise.allSettled(this.shards.map(learn)); // of who does not answer, what was known stays
    }
  }

  /** Asks the database of an id or a bucket, or the caller's own connection. @internal */
  ask(where: string | number | sql.Connection, name: string, args: sql.Args): Promise<sql.Row[]> {
    if (typeof where === "object" || typeof where === "function") return sql.ask(sql.queryOf(where), name, args);
    const bucket = typeof where === "string" ? bucketOfId(where) : where;
    return this.route(bucket, ({ database }) => sql.ask(database.query, name, args));
  }

  /** Waits on a connection, unless half of the pool does so, or it is a pooler's: then looks after a moment. @internal */
  wait(id: string, name: string, args: sql.Args & { timeout: number }): Promise<Record<string, unknown>> {
    return this.route(bucketOfId(id), async ({ database }) => {
      for (let failures = 0; ; failures++) {
        try {
          const isFull = this.waiting >= Math.max(1, database.size / 2);
          const looks = args.timeout > 0 && (isFull || (await database.isPooled()));
          if (looks) await pause(250);
          this.waiting++;
          const timeout = sql.interval(looks ? 0 : args.timeout);
          return await sql.wait(database.alone, name, { ...args, timeout }).finally(() => this.waiting--);
        } catch (error) {
          if (!isTransient(error) || failures === OUTAGE) throw sql.translate(error);
        }
        await pause(100 + Math.random() * 200);
      }
    });
  }
}

/** Asks a database which buckets it has. */
async function learn(shard: Shard): Promise<void> {
  const text = "SELECT lower(r) AS first, upper(r) - 1 AS last FROM unnest(durable.buckets()) r";
  const rows = await shard.database.query(text, []);
  shard.ranges = rows.map(({ first, last }) => [Number(first), Number(last)]);
}

export interface QueueOptions {
  maxConcurrency?: number;
  rateLimit?: number;
  rateLimitWindow?: sql.Duration;
  keyConcurrency?: number;
  fair?: boolean;
  ifExists?: "refuse" | "keep" | "alter";
}

/** The top 12 bits of the CRC-32C of a name. */
export function bucketOfName(name: string): number {
  let crc = ~0;
  for (const byte of Buffer.from(name)) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (0x82f63b78 & -(crc & 1));
  }
  return ~crc >>> 20;
}
/** The bucket in an id. */
export const bucketOfId = (id: string): number => (parseInt(id.slice(19, 23), 16) >> 2) & 0xfff;
