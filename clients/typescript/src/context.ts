import { createHash } from "node:crypto";
import {
  describe,
  DurableError,
  failure,
  Fatal,
  Interrupt,
  isTransient,
  refusal,
  RetryAfter,
  TimedOut,
  type FailureDetail,
} from "./errors";
import type { Recorded, Written } from "./json";
import type { Run, Server, Within } from "./run";
import {
  interval,
  json,
  list,
  translate,
  type AnyPool,
  type Args,
  type Duration,
  type Row,
  type Transaction,
  Typed,
} from "./sql";

/** How often, and how long after (in seconds), a failed step is tried again. */
export interface Retry {
  max: number;
  backoff?: number;
  multiplier?: number;
  cap?: number;
}

export interface StepOptions {
  retry?: Retry | number;
  /** Seconds that one attempt may take. */
  timeout?: number;
}

/** One attempt of a step. */
export interface Step {
  /** The same each time the step runs: an idempotency key for the outside world. */
  readonly id: string;
  readonly name: string;
  readonly attempt: number;
  /** Aborted when its time is up, its workflow was cancelled, or is another executor's. */
  readonly signal: AbortSignal;
}

export interface Signal<T = unknown, N extends string = string> {
  name: N;
  payload: T;
}

export interface ChildOptions {
  /** Any worker of that queue runs it; without one, it runs here. */
  queue?: string;
  priority?: number;
  timeout?: Duration;
  concurrencyKey?: string;
  tags?: Record<string, unknown>;
  onParentEnd?: "leave" | "cancel";
  retry?: Retry | number;
}

export interface WaitOptions {
  timeout?: Duration;
}
export interface FirstOptions extends WaitOptions {
  /** Of the position; by default `first`. */
  name?: string;
}

/** A program, and the name that it is recorded under. */
export interface Program<I, O, P extends AnyPool> {
  readonly handler: string;
  readonly run: WorkflowFunction<I, O, P>;
}
export type WorkflowFunction<I, O, P extends AnyPool = AnyPool> = (ctx: Context<P>, input: I) => Promise<O> | O;

type Sort = "sleep" | "signal" | "callback" | "workflow" | "any";
type Kind = "STEP" | "TRANSACTION" | "WORKFLOW" | "WAIT";

interface Answer {
  action: string;
  output: string | null;
  error: string | null;
  detail: string | null;
  attempt: number;
  runAt: number | null;
}

export const stepId = (workflow: string, sequence: number): string =>
  workflow.slice(0, 30) + (sequence + 1).toString(16).padStart(6, "0");
const time = (text: string | null | undefined): number | null => (text ? Date.parse(text) : null);
const answer = (row: Row): Answer => {
  if (row.action === "STOP") throw refusal(row.error?.slice(0, 5) ?? "", row.error?.slice(7) ?? "");
  return {
    action: row.action ?? "",
    output: row.output ?? null,
    error: row.error ?? null,
    detail: row.detail ?? null,
    attempt: Number(row.attempt ?? 1),
    runAt: time(row.run_at),
  };
};
export const policy = (retry: Retry | number = 0): Args => {
  const { max, backoff, multiplier, cap } = typeof retry === "number" ? ({ max: retry } as Retry) : retry;
  return {
    max_retries: max || undefined,
    backoff: interval(backoff),
    backoff_multiplier: multiplier,
    max_backoff: interval(cap),
  };
};
function outcomeOf<T>(outcome: PromiseSettledResult<T>): T {
  if (outcome.status === "fulfilled") return outcome.value;
  throw outcome.reason;
}
/** A promise of which nobody need take the failure. */
function quiet<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => undefined);
  return promise;
}

/** What stands at a position and has an outcome some time: await it, or give it to `gather` or `first`. */
export class Pending<T> implements PromiseLike<T> {
  private outcome?: Promise<T>;
  /** @internal */
  constructor(
    private readonly run: Run,
    readonly sequence: number,
    /** The step's id. */
    readonly id: string,
    /** @internal when it stands in the database */
    readonly recorded: Promise<unknown>,
    private readonly begin: () => Promise<T>,
  ) {
    void quiet(recorded);
  }

  /** Of a callback: what it is answered by. */
  get token(): string {
    return this.id;
  }

  /** @internal its outcome, for those who have said that they wait for it */
  settle(): Promise<T> {
    return (this.outcome ??= quiet(this.begin()));
  }

  /** @internal the same with another outcome */
  map<U>(fn: (value: T) => U | Promise<U>): Pending<U> {
    return new Pending(this.run, this.sequence, this.id, this.recorded, async () => fn(await this.settle()));
  }

  result(): Promise<T> {
    return this.run.demand("any", [this.id], () => this.settle());
  }
  then<A = T, B = never>(
    fulfilled?: ((value: T) => A | PromiseLike<A>) | null,
    rejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    return this.result().then(fulfilled, rejected);
  }
  catch<B = never>(rejected?: ((reason: unknown) => B | PromiseLike<B>) | null): Promise<T | B> {
    return this.result().catch(rejected);
  }
  finally(ended?: (() => void) | null): Promise<T> {
    return this.result().finally(ended);
  }
}

/** What a program reaches the server by. Each call takes its position when it is made, in the order of the program. */
export class Context<P extends AnyPool = AnyPool> {
  private sequence = 0;
  private drawn = 0;
  private readonly history: ReadonlyMap<number, Row>;
  /** What must be recorded before a step runs: the callbacks whose tokens it may hand out. */
  private before: Promise<unknown> = Promise.resolve();
  private readonly steps = new Set<Promise<unknown>>();
  /** @internal */
  next?: { input: unknown };

  /** @internal */
  constructor(
    private readonly drive: Run,
    readonly id: string,
    readonly name: string,
    readonly input: unknown,
    private readonly lease: number,
    history: readonly Row[],
    private readonly root: string,
  ) {
    this.history = new Map(history.map((row) => [Number(row.sequence), row]));
  }

  private get server(): Server {
    return this.drive.options.server;
  }

  /** Aborted when the workflow was cancelled, or is another executor's. */
  get abortSignal(): AbortSignal {
    return this.drive.abort.signal;
  }

  /** The next position. */
  get position(): number {
    return this.sequence;
  }

  /** Whether the next position was recorded by an earlier run. */
  get replaying(): boolean {
    return this.history.has(this.sequence);
  }

  /** Runs `fn` and records what it returns; recorded, it is not run again. */
  step<T>(name: string, fn: (step: Step) => T | Promise<T>, options: StepOptions = {}): Pending<Recorded<T>> {
    return this.executed(this.take(), name, "STEP", options, fn);
  }

  /**
   * Runs `fn` on a connection, and commits its writes and the step's outcome at once, or neither: again, as a whole,
   * after a deadlock or a serialization failure.
   */
  transaction<T>(
    name: string,
    fn: (tx: Transaction<P>, step: Step) => Promise<T>,
    options: StepOptions = {},
  ): Pending<Recorded<T>> {
    return this.executed(this.take(), name, "TRANSACTION", options, async (step, tx) =>
      answered(await fn(tx?.raw as Transaction<P>, step)),
    );
  }

  /** Waits so many seconds (or an interval as PostgreSQL writes it), or until a time. */
  sleep(name: string, duration: Duration | Date): Pending<null> {
    const args = duration instanceof Date ? { until: duration } : { duration: interval(duration) };
    return this.wait("sleep", name, "sleep", args, () => null);
  }

  /** Waits for a signal of one of these names, one after the other or as an array. Throws `TimedOut`. */
  signal<T = unknown, N extends string = string>(names: N | readonly N[], options?: WaitOptions): Pending<Signal<T, N>>;
  signal<T = unknown, N extends string = string>(...names: N[]): Pending<Signal<T, N>>;
  signal<T = unknown, N extends string = string>(...names: [...N[], options: WaitOptions]): Pending<Signal<T, N>>;
  signal<T, N extends string>(...names: unknown[]): Pending<Signal<T, N>> {
    const [signals, { timeout }] = several<N, WaitOptions>(names, (it) => typeof it === "string");
    const args = { timeout: interval(timeout), signals: list("text", signals) };
    return this.wait("await_signal", signals.join("|"), "signal", args, (output) => {
      const { signal, payload } = JSON.parse(output as string) as { signal: N; payload: unknown };
      return { name: signal, payload: this.read(JSON.stringify(payload)) as T };
    });
  }

  /** Waits until somebody answers who has its `token`. Throws `TimedOut`. */
  callback<T = unknown>(name: string, options: WaitOptions = {}): Pending<T> {
    const args = { timeout: interval(options.timeout) };
    const callback = this.wait("await_callback", name, "callback", args, (output) => this.read(output) as T);
    this.before = Promise.allSettled([this.before, callback.recorded]);
    return callback;
  }

  /** Waits for the end of any other workflow: its output, or its failure. */
  workflow<T = unknown>(name: string, awaited: string, options: WaitOptions = {}): Pending<T> {
    const args = { awaited: new Typed("uuid", awaited), timeout: interval(options.timeout) };
    return this.wait("await_workflow", name, "workflow", args, (output) => this.read(output) as T);
  }

  /** Runs a workflow below this one: here, or with a queue by any worker of it. */
  child<I, O>(
    name: string,
    workflow: Program<I, O, P> | WorkflowFunction<I, O, P>,
    input?: I,
    options: ChildOptions = {},
  ): Pending<Recorded<O>> {
    const sequence = this.take();
    const program = typeof workflow === "function" ? { handler: undefined, run: workflow } : workflow;
    const { queue, priority, timeout, concurrencyKey, tags, onParentEnd, retry } = options;
    const written = this.write(input, `input of "${name}"`);
    const ask = (): Promise<Row> =>
      this.server.call("start_child", {
        parent_id: this.id,
        sequence,
        name,
        lease: this.lease,
        queue,
        priority,
        handler: program.handler,
        input: json(written.text),
        timeout: interval(timeout),
        concurrency_key: concurrencyKey,
        on_parent_end: onParentEnd,
        tags: tags && json(JSON.stringify(tags)),
        ...policy(retry),
      });
    if (queue !== undefined)
      return this.open(
        sequence,
        name,
        "WORKFLOW",
        null,
        async () => ofChild(await ask()) ?? answer({ action: "WAIT" }),
        (o) => this.read(o) as Recorded<O>,
      );
    return this.running(sequence, name, "WORKFLOW", async (recorded) => {
      const row = await this.drive.ask(ask);
      recorded();
      return await this.inline(sequence, name, program.run, written.value, row);
    });
  }

  /** Waits for all, then returns their outcomes in order, or throws the first failure in this order. */
  gather<T extends readonly unknown[] | []>(all: T): Promise<{ -readonly [K in keyof T]: Awaited<T[K]> }>;
  gather<T extends readonly unknown[]>(...all: T): Promise<{ -readonly [K in keyof T]: Awaited<T[K]> }>;
  async gather(...all: readonly unknown[]): Promise<never> {
    const waits = (Array.isArray(all[0]) ? all[0] : all) as readonly (Pending<unknown> | Promise<unknown>)[];
    const ids = waits.map((one) => (one instanceof Pending ? one.id : ""));
    const outcomes = await this.drive.demand("all", ids, () =>
      Promise.allSettled(waits.map((one) => (one instanceof Pending ? one.settle() : one))),
    );
    return outcomes.map(outcomeOf) as never;
  }

  /** Waits for the one that ends first: its index and its outcome, or its failure. The others stay as they are. */
  first<T>(all: readonly Pending<T>[], options?: FirstOptions): Pending<{ index: number; value: T }>;
  first<T>(...all: Pending<T>[] | [...Pending<T>[], options: FirstOptions]): Pending<{ index: number; value: T }>;
  first<T>(...waits: unknown[]): Pending<{ index: number; value: T }> {
    const [all, options] = several<Pending<T>, FirstOptions>(waits, (it) => it instanceof Pending);
    const sequences = all.map((one) => one.sequence);
    const args = { sequences: list("int", sequences), timeout: interval(options.timeout) };
    const read = (output: string | null) => (JSON.parse(output as string) as { sequence: number }).sequence;
    const recorded = Promise.all(all.map((one) => one.recorded));
    const found = this.wait("await_any", options.name ?? "first", "any", args, read, recorded);
    return found.map(async (sequence) => {
      const index = sequences.indexOf(sequence);
      return { index, value: await (all[index] as Pending<T>).settle() };
    });
  }

  /** Runs `fn` for each item, each a step of its own, so many at once. */
  async map<A, T>(
    name: string,
    items: readonly A[],
    fn: (item: A, step: Step) => T | Promise<T>,
    options: number | (StepOptions & { concurrency?: number }) = {},
  ): Promise<Recorded<T>[]> {
    const { concurrency = 10, ...each } = typeof options === "number" ? { concurrency: options } : options;
    const first = this.take(items.length);
    const steps: Promise<PromiseSettledResult<Recorded<T>>[]>[] = [];
    let next = 0;
    const lane = async (): Promise<void> => {
      while (next < items.length) {
        const index = next++;
        const step = this.executed(first + index, name, "STEP", each, (one) => fn(items[index] as A, one));
        await (steps[index] = Promise.allSettled([step]));
      }
    };
    await Promise.all(Array.from({ length: Math.max(concurrency, 1) }, lane));
    return (await Promise.all(steps)).map(([outcome]) => outcomeOf(outcome as PromiseSettledResult<Recorded<T>>));
  }

  /** Says something, once, to those who follow the workflow's events: the event's number. */
  emit(topic: string, payload?: unknown): Pending<number> {
    const args = { ...this.self, topic, payload: json(this.write(payload, `event "${topic}"`).text) };
    return this.executed(this.take(), `emit:${topic}`, "TRANSACTION", {}, async (_, tx) =>
      Number((await tx?.call("emit", args))?.value),
    );
  }

  /** Whether this run goes the new way of a program that was changed here. */
  async patched(name: string): Promise<boolean> {
    const recorded = this.history.get(this.sequence);
    if (recorded) {
      if (recorded.name !== `patch:${name}`) return false;
      this.take();
      return true;
    }
    const sequence = this.take(); // what is not recorded will be, as this marker
    await this.drive.ask(() => this.server.call("patched", { ...this.self, sequence, name }));
    return true;
  }

  /** Ends this run and goes on in a new one of the same name: `return ctx.continueAs(input)`. */
  continueAs(input: unknown): never {
    if (this.id !== this.drive.id) throw new DurableError("only a root can continue in a new run");
    this.next = { input };
    throw new Interrupt("suspended", "continues in a new run");
  }

  /** The time, recorded: the same on each replay. */
  now(): Pending<Date> {
    return this.step("now", () => new Date().toISOString()).map((text) => new Date(text));
  }

  /** A random id, the same on each replay. */
  uuid(): string {
    const bytes = this.draw();
    bytes[6] = ((bytes[6] as number) & 0x0f) | 0x80;
    bytes[8] = ((bytes[8] as number) & 0x3f) | 0x80;
    return bytes.toString("hex", 0, 16).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
  }

  /** A random number from 0 to 1, the same on each replay. */
  random(): number {
    return Number(this.draw().readBigUInt64BE() >> 11n) / 2 ** 53;
  }

  private draw(): Buffer {
    return createHash("sha256").update(`${this.id}/${this.sequence}/${this.drawn++}`).digest();
  }

  // ---- how a position comes to its outcome ----------------------------------------------------

  /** The next position, or the first of so many. */
  private take(count = 1): number {
    this.drawn = 0;
    this.sequence += count;
    return this.sequence - count;
  }
  private get self() {
    return { workflow_id: this.id, lease: this.lease };
  }
  private write(value: unknown, where: string): Written {
    return this.drive.options.serializer.write(value, where);
  }
  private read(text: string | null | undefined): unknown {
    return this.drive.options.serializer.read(text);
  }

  /** What was recorded there before, if it has ended. Another program's step stops the run. */
  private past(sequence: number, name: string, kind: Kind, sort: Sort | null = null): Answer | undefined {
    const row = this.history.get(sequence);
    if (!row) return undefined;
    if (row.name === name && row.kind === kind && (row.wait ?? null) === sort) {
      return kind === "WORKFLOW" ? ofChild(row) : ended(row);
    }
    throw this.interrupt("programChanged", `position ${sequence} is ${row.kind} "${row.name}", not ${kind} "${name}"`);
  }

  private interrupt(reason: "programChanged" | "locked", message: string): Interrupt {
    const interrupt = new Interrupt(reason, message);
    this.drive.stop(interrupt);
    return interrupt;
  }

  private outcome<T>(name: string, found: Answer, read: (output: string | null) => T): T {
    if (found.action === "REPLAY") return read(found.output);
    throw failure(name, found.error, found.detail === null ? null : JSON.parse(found.detail), found.attempt || null);
  }

  /** A position that this process runs, at once. */
  private running<T>(
    sequence: number,
    name: string,
    kind: Kind,
    work: (recorded: () => void) => Promise<T>,
  ): Pending<T> {
    let found: () => void;
    const recorded = new Promise<void>((resolve) => (found = resolve));
    const begin = async (): Promise<T> => {
      const past = this.past(sequence, name, kind);
      return past ? this.outcome(name, past, (output) => this.read(output) as T) : await work(found);
    };
    const outcome = this.track(begin());
    return new Pending(
      this.drive,
      sequence,
      stepId(this.id, sequence),
      Promise.race([recorded, outcome]),
      () => outcome,
    );
  }

  /** What must have ended before the workflow does. */
  private track<T>(step: Promise<T>): Promise<T> {
    this.steps.add(step);
    const end = (): void => {
      this.steps.delete(step);
      this.drive.progressed();
    };
    step.then(end, end);
    return step;
  }

  /** A position that ends by itself: it is asked for at once, and again whenever it may have ended. */
  private open<T>(
    sequence: number,
    name: string,
    kind: Kind,
    sort: Sort | null,
    ask: () => Promise<Answer>,
    read: (output: string | null) => T,
    after?: Promise<unknown>,
  ): Pending<T> {
    const id = stepId(this.id, sequence);
    const first = (async () => {
      await after;
      return this.past(sequence, name, kind, sort) ?? (await this.drive.ask(ask));
    })();
    return new Pending(this.drive, sequence, id, first, async () => {
      let found = await first;
      while (found.action === "WAIT") {
        await this.drive.pause({ id, sort, runAt: found.runAt });
        found = await this.drive.ask(ask);
      }
      return this.outcome(name, found, read);
    });
  }

  private wait<T>(
    fn: string,
    name: string,
    sort: Sort,
    args: Args,
    read: (output: string | null) => T,
    after?: Promise<unknown>,
  ): Pending<T> {
    const sequence = this.take();
    const ask = async (): Promise<Answer> =>
      answer(await this.server.call(fn, { ...this.self, sequence, name, ...args }));
    return this.open(sequence, name, "WAIT", sort, ask, read, after);
  }

  private async inline<I, O>(
    sequence: number,
    name: string,
    run: WorkflowFunction<I, O, P>,
    input: unknown,
    row: Row,
  ): Promise<Recorded<O>> {
    const before = ofChild(row);
    if (before) return this.outcome(name, before, (output) => this.read(output) as Recorded<O>);
    const id = row.workflow_id as string;
    const isNew = row.created === "t";
    const history = isNew ? [] : await this.drive.ask(() => this.server.rows("history", { workflow_id: id }));
    const ctx = new Context<P>(this.drive, id, name, input, Number(row.lease), history, this.root);
    return (await ctx.finish(run)) as Recorded<O>;
  }

  /** A step, in or without a transaction: claimed until it has an outcome, and run whenever the server says so. */
  private executed<T>(
    sequence: number,
    name: string,
    kind: "STEP" | "TRANSACTION",
    { retry, timeout }: StepOptions,
    fn: (step: Step, tx?: Within) => T | Promise<T>,
  ): Pending<Recorded<T>> {
    const { drive, server } = this;
    const { executor, fused, telemetry, retryPause } = drive.options;
    const id = stepId(this.id, sequence);
    const args = {
      ...this.self,
      sequence,
      name,
      executor_id: executor,
      kind: kind === "STEP" ? undefined : kind,
      timeout: interval(timeout),
      ...policy(retry),
    };
    const claim = async (): Promise<Answer> => answer(await server.call("claim_step", args, this.id));
    const fence = (found: Answer) => ({ task_id: id, lease: this.lease, attempt: found.attempt });

    const perform = async (found: Answer, tx?: Within): Promise<Written> => {
      const step = { id, name, attempt: found.attempt, signal: this.abortSignal };
      const span = telemetry.start({ ...step, sequence, workflow: this.name, parent: this.id, root: this.root });
      try {
        const returned = await span.run(() => inTime(step, timeout, () => fn(step, tx)));
        const written = this.write(returned, `${kind.toLowerCase()} "${name}"`);
        span.end();
        return written;
      } catch (error) {
        span.end(error);
        throw new Raised(error, tx ? undefined : found);
      }
    };
    const once = async (found: Answer): Promise<Outcome<T>> => {
      if (found.action !== "EXECUTE") return { found };
      const { text, value } = await perform(found);
      const done = server.call("complete", { ...fence(found), output: json(text) }, this.id);
      if (fused) void this.track(quiet(drive.work(() => done)));
      else await done;
      return { value: value as Recorded<T> };
    };
    const within = (): Promise<Outcome<T>> =>
      server.transaction(async (tx) => {
        const found = answer(await tx.call("claim_step", args));
        if (found.action !== "EXECUTE") return { found };
        const { text, value } = await perform(found, tx);
        await tx.call("complete", { ...fence(found), output: json(text) });
        return { value: value as Recorded<T> };
      });
    const failed = async (error: unknown, found: Answer): Promise<Answer> => {
      if (drive.stopped && this.abortSignal.aborted) throw drive.stopped;
      if (found.action !== "EXECUTE") return found;
      const { error: text, detail } = describe(error);
      const row = await server.call("fail", {
        ...fence(found),
        error: text,
        detail: json(this.detail(detail)),
        retryable: !(error instanceof Fatal),
        retry_after: error instanceof RetryAfter ? interval(error.seconds) : undefined,
      });
      if (row.status === "FAILED") throw failure(name, text, detail, found.attempt);
      return answer({ action: "WAIT", run_at: row.run_at ?? null });
    };
    const attempt = async (recorded: () => void): Promise<Outcome<T>> => {
      try {
        if (kind === "TRANSACTION") return await within();
        const found = await claim();
        recorded();
        return await once(found);
      } catch (caught) {
        const raised = caught instanceof Raised ? caught : undefined;
        const error = raised ? raised.error : translate(caught, refusal);
        if (kind === "TRANSACTION" && (raised ? isConflict(error) : isTransient(error))) {
          await retryPause();
          return { found: answer({ action: "WAIT", run_at: new Date(server.now()).toISOString() }) };
        }
        if (!raised && (error instanceof Interrupt || kind === "STEP")) throw error;
        return { found: await failed(error, raised?.found ?? (await claim())) };
      }
    };
    const { before } = this;
    return this.running(sequence, name, kind, async (recorded) => {
      await before;
      for (let tries = 0; ; tries++) {
        const outcome = await drive.ask(() => attempt(recorded));
        if ("value" in outcome) return outcome.value;
        recorded();
        const { found } = outcome;
        const isLocked = found.action === "LOCKED"; // by one who has not committed yet
        if (isLocked && tries > MOST_TRIES) throw this.interrupt("locked", `"${name}" runs elsewhere`);
        if (!isLocked && found.action !== "WAIT") return this.outcome(name, found, (o) => this.read(o) as Recorded<T>);
        await drive.pause({ id, sort: "sleep", runAt: isLocked ? server.now() + 100 : found.runAt });
      }
    });
  }

  private detail(detail: FailureDetail): string | null {
    try {
      return this.write(detail, "detail").text;
    } catch {
      return JSON.stringify({ type: detail.type, message: describe(detail.message).error });
    }
  }

  /** Runs the program, records how it ended, and returns its output as it was recorded. @internal */
  async finish<I, O>(run: WorkflowFunction<I, O, P>): Promise<unknown> {
    const { server, telemetry, warn } = this.drive.options;
    const span = telemetry.start({ id: this.id, name: this.name, root: this.root, workflow: this.name });
    const task = { task_id: this.id, lease: this.lease };
    const { drive } = this;
    try {
      const returned = await span.run(() => Promise.race([run(this, this.input as I), drive.gone]));
      while (this.steps.size > 0 && !drive.stopped) await Promise.allSettled(this.steps);
      if (drive.stopped) {
        warn(`"${this.name}" went on after it was stopped (${drive.stopped.toString()}): nothing of that is recorded`);
        throw drive.stopped;
      }
      if (this.next) throw new Interrupt("suspended", "continues in a new run");
      const { text, value } = this.write(returned, `output of "${this.name}"`);
      await drive.ask(() => server.call("complete", { ...task, output: json(text) }));
      span.end();
      return value;
    } catch (error) {
      if (drive.stopped) throw drive.stopped;
      if (this.next) {
        const input = json(this.write(this.next.input, `input of the next "${this.name}"`).text ?? "null");
        await drive.ask(() => server.call("continue_as", { ...this.self, input }));
        span.end();
        throw error;
      }
      const { error: text, detail } = describe(error);
      const retryable = !(error instanceof Fatal);
      await drive.ask(() =>
        server.call("fail", { ...task, error: text, detail: json(this.detail(detail)), retryable }),
      );
      span.end(error);
      throw failure(this.name, text, detail);
    }
  }
}

/** Some of a kind, one after the other or as an array, and options behind them. */
function several<T, O>(given: unknown[], isOne: (it: unknown) => boolean): [all: T[], options: Partial<O>] {
  const all = given.flat().filter(isOne) as T[];
  const last = given.at(-1);
  return [all, isOne(last) || Array.isArray(last) ? {} : (last ?? {})];
}

/** What pg answers: of its result, what the type of that has. */
function answered<T>(result: T): T {
  if (typeof result !== "object" || result === null || !("rows" in result && "fields" in result)) return result;
  const { command, rowCount, oid, rows, fields } = result as Record<string, unknown>;
  return { command, rowCount, oid, rows, fields } as T;
}

const MOST_TRIES = 50;
/** What an attempt came to: a value, or what the server has said of the step. */
type Outcome<T> = { value: Recorded<T> } | { found: Answer };
/** What a step's function has thrown. */
export class Raised extends Error {
  constructor(
    readonly error: unknown,
    /** The claim, unless that was taken back with the writes. */
    readonly found?: Answer,
  ) {
    super("raised");
  }
}
const isConflict = (error: unknown): boolean => isTransient(error) && /^40/.test((error as { code: string }).code);

/** What start_child has answered. */
function ofChild(row: Row): Answer | undefined {
  const found = ended(row);
  return found && { ...found, ...OF_CHILD };
}
/** A child has no attempts, and what its parent gets of a failure stands in its text. */
const OF_CHILD = { detail: null, attempt: 0 };

/** The outcome in a row of the history, if it has one. */
function ended(row: Row): Answer | undefined {
  if (row.status === "COMPLETED") return answer({ ...row, action: "REPLAY" });
  return row.status === "FAILED" || row.status === "CANCELLED" ? answer({ ...row, action: "FAILED" }) : undefined;
}

/** Gives a step its time, then aborts it. */
async function inTime<T>(step: Step, seconds: number | undefined, fn: () => T | Promise<T>): Promise<T> {
  if (seconds === undefined) return await fn();
  const controller = new AbortController();
  (step as { signal: AbortSignal }).signal = AbortSignal.any([step.signal, controller.signal]);
  const error = new TimedOut(`it took longer than ${seconds} s`);
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      controller.abort(error);
      reject(error);
    }, seconds * 1000);
  });
  return await Promise.race([(async () => fn())(), late]).finally(() => {
    clearTimeout(timer);
  });
}
