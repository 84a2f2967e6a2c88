import { randomBytes } from "node:crypto";
import { once, setMaxListeners } from "node:events";
import { hostname } from "node:os";
import { setTimeout as pause } from "node:timers/promises";
import type { App, Shard } from "./app";
import { Batcher } from "./batch";
import { Context } from "./context";
import { DurableError, Interrupt, isTransient, refusal } from "./errors";
import { Run, type RunOptions, type Server, type Within } from "./run";
import {
  ask,
  call,
  interval,
  list,
  translate,
  wait,
  type Args,
  type Row,
  type Session,
  type WorkerDatabase,
} from "./sql";

export interface WorkerOptions {
  /** The queues that it claims from, the first first; by default those of its workflows, or `default`. */
  queues?: string[];
  /** How many workflows it drives at once. */
  concurrency?: number;
  /** Seconds that a workflow waits in place before it is suspended and frees its slot. */
  patience?: number;
  /** Seconds that steps may run on after it was told to stop. */
  grace?: number;
  /** This process's name; no two at once may share it. */
  executor?: string;
  /** Whether SIGTERM and SIGINT drain it, and a second one stops it at once. */
  signals?: boolean;
}

const LONG = 60;
/** Seconds between two looks at what there is to do, behind a pooler. */
const LOOK = 0.25;
/** Seconds after which another worker may try what this one had to give back. */
const GIVE_BACK: Partial<Record<string, number>> = { locked: 1, refused: LONG, programChanged: LONG };
const sleep = (seconds: number, signal?: AbortSignal): Promise<void> =>
  pause(seconds * 1000, undefined, { signal }).catch(() => undefined);
/** Seconds before the next try: longer and longer, and not at the same time as others. */
const backoff = (failures: number): number => Math.random() * Math.min(5, 0.05 * 2 ** failures);

/** Drives workflows of an app. */
export class Worker {
  readonly executor: string;
  private readonly lanes: Lane[];
  private readonly end = new AbortController();
  private readonly now = new AbortController();
  private claimed = 0;
  private readonly idle = new Set<Promise<void>>();

  /** @internal */
  constructor(
    readonly app: App,
    readonly options: WorkerOptions,
  ) {
    setMaxListeners(0, this.end.signal, this.now.signal);
    this.executor = options.executor ?? `${hostname()}-${process.pid}-${randomBytes(4).toString("hex")}`;
    this.lanes = app.shards.map((shard) => new Lane(this, shard));
  }

  get room(): number {
    return (this.options.concurrency ?? 10) - this.idle.size - this.claimed;
  }
  /** Takes up to as many as there is room for: the places that are asked for are nobody else's meanwhile. */
  async fill(claim: (room: number) => Promise<number>): Promise<number> {
    const room = this.room;
    if (room <= 0) return 0;
    this.claimed += room;
    try {
      return await claim(room);
    } finally {
      this.claimed -= room;
      for (const lane of this.lanes) lane.hasRoom();
    }
  }
  get queues(): string[] {
    const named = [...this.app.workflows.values()].map((workflow) => workflow.options.queue ?? "default");
    return this.options.queues ?? [...new Set(named)];
  }
  /** Aborted when no new work is to begin, and when all is to stop. */
  get draining(): AbortSignal {
    return this.end.signal;
  }
  get stopping(): AbortSignal {
    return this.now.signal;
  }

  /** Works until `stop`. */
  async run(): Promise<void> {
    const isTooSmall = this.app.shards.some(({ database }) => database.size < 2);
    if (isTooSmall) throw new Error("a worker needs a pool of at least 2 connections: one of them waits");
    const stop = (): void => {
      this.stop(this.end.signal.aborted);
    };
    if (this.options.signals) for (const signal of ["SIGTERM", "SIGINT"]) process.on(signal, stop);
    try {
      await Promise.all(this.lanes.map((lane) => lane.serve()));
    } finally {
      for (const signal of ["SIGTERM", "SIGINT"]) process.off(signal, stop);
    }
  }

  /** Drains: no new work, steps in flight may end within the grace; with `now`, nothing is waited for. */
  stop(now = false): void {
    this.end.abort();
    if (now) this.now.abort();
    else
      setTimeout(
        () => {
          this.now.abort();
        },
        (this.options.grace ?? 30) * 1000,
      ).unref();
  }

  /** What runs takes a place of `concurrency` until it ends. */
  occupy(work: Promise<void>): void {
    this.idle.add(work);
    void work.finally(() => {
      this.idle.delete(work);
      for (const lane of this.lanes) lane.hasRoom();
    });
  }

  async drained(): Promise<void> {
    if (!this.stopping.aborted) await Promise.race([Promise.all(this.idle), once(this.stopping, "abort")]);
  }
}

/** A worker in one database: the connection that waits, and what is driven there. */
class Lane implements Server {
  private readonly database: WorkerDatabase;
  private readonly runs = new Map<string, Run>();
  private readonly batcher = new Batcher((name, args) => this.rows(name, args));
  private pid?: number;
  private isFull = false;
  private isWaiting = false;
  private skew = 0;
  private claiming?: Promise<void>;

  constructor(
    private readonly worker: Worker,
    { database }: Shard,
  ) {
    this.database = database.forWorker();
  }

  // ---- what runs ask for: again and again, until the server answers ------------------------------

  now(): number {
    return Date.now() + this.skew;
  }
  call(name: string, args: Args, workflow?: string): Promise<Row> {
    return this.batcher.call(name, args, workflow);
  }
  rows(name: string, args: Args): Promise<Row[]> {
    return this.persist(() => call(this.database.query, name, args));
  }
  transaction<T>(work: (tx: Within) => Promise<T>): Promise<T> {
    return this.database.transaction((raw, query) =>
      work({ raw, call: async (name, args) => (await call(query, name, args))[0] as Row }),
    );
  }
  private async persist<T>(what: () => Promise<T>): Promise<T> {
    for (let failures = 0; ; failures++) {
      try {
        return await what();
      } catch (error) {
        if (!isTransient(error)) throw translate(error, refusal);
        if (this.worker.stopping.aborted) throw new Interrupt("shutdown", "the server cannot be reached");
      }
      await sleep(backoff(failures), this.worker.stopping);
    }
  }

  // ---- the connection that waits -------------------------------------------------------------------

  /** Waits for work, on one connection after the other, until the worker drains. */
  async serve(): Promise<void> {
    const { draining, stopping, executor, app } = this.worker;
    draining.addEventListener("abort", () => {
      for (const run of this.runs.values()) run.stop(new Interrupt("shutdown", "the worker drains"));
      void this.hush();
    });
    stopping.addEventListener("abort", () => {
      for (const run of this.runs.values()) run.abort.abort(run.stopped);
    });
    for (let failures = 0; this.isOpen(); failures++) {
      let session: Session | undefined;
      try {
        session = await this.database.connect();
        await this.meet(session);
        failures = 0;
        while (this.isOpen()) await this.listen(session);
        await this.worker.drained();
        await this.claiming;
        await ask(session.query, "release", { executor_id: executor });
        if (!(await this.database.isPooled())) await session.query("SELECT pg_advisory_unlock_all()", []); // it is bound no longer
      } catch (error) {
        app.logger.warn(`worker ${executor}: ${String(error)}`);
        if (this.isOpen()) {
          await sleep(backoff(failures), draining);
        } else {
          await this.worker.drained();
          await this.claiming;
          await this.rows("release", { executor_id: executor }).catch(() => undefined);
        }
      } finally {
        this.pid = undefined;
        session?.end();
      }
    }
    this.database.end();
  }

  private isOpen(): boolean {
    return !this.worker.draining.aborted;
  }

  private async meet(session: Session): Promise<void> {
    const began = Date.now();
    const text = "SELECT pg_backend_pid() AS pid, extract(epoch FROM durable.clock())::text AS clock";
    const [row] = await session.query(text, []);
    this.skew = Number(row?.clock) * 1000 - (began + Date.now()) / 2;
    this.pid = Number(row?.pid);
    for (const name of this.worker.queues)
      await ask(session.query, "create_queue", { name, if_exists: "keep" }).catch((error: unknown) => {
        if ((error as DurableError).code !== "42501") throw error; // somebody else may have to
      });
    await this.listen(session, 0); // it is bound, so it is known when it dies
    await this.settle(session, "news");
  }

  /**
   * Waits, and does what there is to do. Behind a pooler it neither waits in a session nor is bound to one, which is
   * another's the next time: it shows that it is alive, and looks at everything, again and again.
   */
  private async listen(session: Session, seconds = 10): Promise<void> {
    const isPooled = await this.database.isPooled();
    this.isFull = this.worker.room <= 0;
    if (isPooled) await sleep(LOOK, this.worker.draining);
    const queues = list("text", this.isFull || isPooled ? [] : this.worker.queues);
    const timeout = interval(isPooled ? 0 : seconds);
    const args = { executor_id: this.worker.executor, queues, timeout, bind: !isPooled };
    try {
      this.isWaiting = !isPooled;
      const { reason } = await wait(session.query, "wait_for_work", args).finally(() => (this.isWaiting = false));
      await this.settle(session, isPooled ? "all" : (reason as string));
    } catch (error) {
      if ((error as { code?: string }).code !== "57014") throw error; // it was hushed
    }
  }

  /** Ends what the connection waits in, so that it waits for something else. */
  private async hush(): Promise<void> {
    if (!this.isWaiting) return;
    await this.database.query("SELECT pg_cancel_backend($1)", [this.pid]).catch(() => undefined);
  }

  private async settle({ query }: Session, reason: string): Promise<void> {
    const isAll = reason === "all";
    if (isAll || reason === "news" || reason === "timeout") await this.check(query);
    if (this.worker.draining.aborted) return;
    const claimed = isAll || reason === "work" ? await this.claim(query) : 0;
    if (isAll || claimed === 0) await this.recover(query);
  }

  // ---- work comes and goes -------------------------------------------------------------------------

  /** A place is free again: what waits is claimed, and else the connection waits for it. */
  hasRoom(): void {
    if (!this.isFull || this.worker.draining.aborted) return;
    this.claiming ??= (async () => {
      await new Promise(setImmediate); // for all that end in this moment
      await this.claim(this.database.query).catch(() => 0);
      this.claiming = undefined;
      if (this.worker.room > 0 && this.isFull) await this.hush();
    })();
  }

  private get handlers() {
    return list("text", [...this.worker.app.workflows.keys()]);
  }

  private async claim(query: Session["query"]): Promise<number> {
    const { queues } = this.worker;
    return queues.length === 0 ? 0 : await this.take(query, "claim_from", { queues: list("text", queues) });
  }

  private async recover(query: Session["query"]): Promise<void> {
    await this.take(query, "recover", {});
  }

  private async take(query: Session["query"], call: string, more: Args): Promise<number> {
    const { executor, app } = this.worker;
    return await this.worker.fill(async (room) => {
      const args = { executor_id: executor, max_workflows: room, handlers: this.handlers, ...more };
      const rows = await ask(query, call, { ...args, app_version: app.options.version });
      for (const row of rows) this.drive(row);
      return rows.length;
    });
  }

  /** Asks whether what it drives is still its own, and looks again at what waits. */
  private async check(query: Session["query"]): Promise<void> {
    const { executor } = this.worker;
    const runs = [...this.runs.values()];
    const workflow_ids = list(
      "uuid",
      runs.map((run) => run.id),
    );
    const leases = list(
      "int",
      runs.map((run) => run.lease),
    );
    for (const row of await ask(query, "heartbeat", { executor_id: executor, workflow_ids, leases })) {
      const run = this.runs.get(row.workflow_id ?? "");
      const isOurs = row.status === "RUNNING" && row.owner === executor;
      if (run && row.status === "PAUSED") run.stop(new Interrupt("paused", "it was paused"));
      else if (run && row.status === "CANCELLED") run.stop(new Interrupt("cancelled", "it was cancelled"));
      else if (run && !(isOurs && Number(row.lease) === run.lease))
        run.stop(new Interrupt("leaseLost", `it is ${row.status}, owned by ${row.owner}`));
      else if (!run && isOurs && this.worker.room > 0) await this.adopt(query, row.workflow_id as string);
    }
    for (const run of this.runs.values()) run.wake();
  }

  /** What the server says is ours: the answer to a claim was lost, or a pause is over. */
  private async adopt(query: Session["query"], id: string): Promise<void> {
    const [row] = await ask(query, "attach", { workflow_id: id, executor_id: this.worker.executor });
    if (row?.status === "RUNNING" && row.owner === this.worker.executor) this.drive({ ...row, workflow_id: id });
  }

  private drive(row: Row): void {
    if (!this.isOpen()) return; // it was claimed while the drain began, and is released with the rest
    this.runs.get(row.workflow_id as string)?.stop(new Interrupt("leaseLost", "it was taken up again"));
    const { app, executor, options } = this.worker;
    const run = new Run(
      {
        server: this,
        serializer: app.serializer,
        telemetry: app.telemetry,
        executor,
        patience: options.patience ?? 5,
        fused: app.workflows.get(row.handler ?? "")?.options.fused ?? false,
        warn: (message) => {
          app.logger.warn(message, { workflow: row.workflow_id });
        },
        retryPause: () => sleep(backoff(3), this.worker.stopping),
      } satisfies RunOptions,
      row.workflow_id as string,
      Number(row.lease),
    );
    this.runs.set(run.id, run);
    this.worker.occupy(this.follow(run, row));
  }

  /** Drives a workflow as far as it goes; whatever stops it concerns no other. */
  private async follow(run: Run, row: Row): Promise<void> {
    const { app } = this.worker;
    try {
      const workflow = app.workflows.get(row.handler ?? "");
      if (!workflow) throw new Interrupt("refused", `no handler "${row.handler}" here`);
      const history = run.lease > 1 ? await run.ask(() => this.rows("history", { workflow_id: run.id })) : [];
      const ctx = new Context(run, run.id, row.name ?? "", app.serializer.read(row.input), run.lease, history, run.id);
      await ctx.finish(workflow.run as never);
    } catch (error) {
      if (error instanceof Interrupt) await this.giveBack(run, error, row);
      else if (!(error instanceof DurableError)) app.logger.error(`workflow "${row.name}"`, error);
    } finally {
      if (this.runs.get(run.id) === run) this.runs.delete(run.id);
    }
    // it may have been resumed while its last step was still at work
    if (run.stopped?.reason === "paused" && this.isOpen() && !this.runs.has(run.id))
      await this.adopt(this.database.query, run.id).catch((error: unknown) => {
        app.logger.warn(`workflow ${run.id}: ${String(error)}`);
      });
  }

  /** What nobody would drive otherwise, since it is still ours, is anybody's after a while. */
  private async giveBack(run: Run, { reason, message }: Interrupt, row: Row): Promise<void> {
    const seconds = GIVE_BACK[reason];
    if (seconds === undefined) return;
    this.worker.app.logger.error(`workflow ${run.id} "${row.name}" is given back: ${reason}: ${message}`);
    const args = {
      executor_id: this.worker.executor,
      workflow_id: run.id,
      run_at: new Date(this.now() + seconds * 1000),
    };
    await this.rows("release", args).catch(() => []);
  }
}
