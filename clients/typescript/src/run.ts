import { setImmediate as turn } from "node:timers/promises";
import { Interrupt } from "./errors";
import type { Serializer } from "./json";
import { list, type Args, type Row } from "./sql";
import type { Telemetry } from "./telemetry";

/** A transaction: the driver's connection, and calls of the server in it. */
export interface Within {
  raw: unknown;
  call(name: string, args: Args): Promise<Row>;
}

/** What a context asks for: the server, or what stands for it in a test. */
export interface Server {
  /** One row; what several ask in the same moment may go as one call. */
  call(name: string, args: Args, workflow?: string): Promise<Row>;
  rows(name: string, args: Args): Promise<Row[]>;
  transaction<T>(work: (tx: Within) => Promise<T>): Promise<T>;
  /** The server's time, in milliseconds. */
  now(): number;
}

export interface RunOptions {
  server: Server;
  serializer: Serializer;
  telemetry: Telemetry;
  executor: string;
  /** Seconds that it waits in place before it is suspended. */
  patience: number;
  /** Whether a step's outcome is recorded with the claim of the next one. */
  fused: boolean;
  warn(message: string): void;
  /** A while, after the server could not be reached. */
  retryPause(): Promise<void>;
}

/** A position that its driver was told is open. */
export interface Open {
  id: string;
  /** When it ends by itself. */
  runAt: number | null;
  /** `sleep`: it ends by its time alone; `any`: also by a step of this process. */
  sort: string | null;
}

interface Paused extends Open {
  wake(): void;
  stop(interrupt: Interrupt): void;
}

/** What the program waits for: one position, or all of several. */
interface Demand {
  until: "any" | "all";
  ids: ReadonlySet<string>;
}

const LONGEST = 2 ** 31 - 1;
const MOST_CALLS_AFTER_STOP = 100;

/** One workflow, with its inline children, while it is driven here. */
export class Run {
  readonly abort = new AbortController();
  stopped?: Interrupt;
  /** Resolved when a program goes on and on after it was stopped. */
  readonly gone: Promise<void>;
  private leave!: () => void;
  private callsAfterStop = 0;
  private busy = 0;
  private progress = performance.now();
  private timer?: NodeJS.Timeout;
  private wakes?: NodeJS.Timeout;
  private readonly paused = new Set<Paused>();
  private readonly demands = new Set<Demand>();

  constructor(
    readonly options: RunOptions,
    readonly id: string,
    readonly lease: number,
  ) {
    this.gone = new Promise((resolve) => (this.leave = resolve));
  }

  /** Ends the driving: what waits is interrupted, steps that run may end, unless the workflow is lost. */
  stop(interrupt: Interrupt): void {
    if (!this.stopped) {
      this.stopped = interrupt;
      clearTimeout(this.timer);
      for (const open of this.paused) open.stop(interrupt);
    }
    if (interrupt.reason === "cancelled" || interrupt.reason === "leaseLost") this.abort.abort(interrupt);
  }

  /** Something may have ended: asks again. Where much is open, not more often than that costs. */
  wake(): void {
    this.wakes ??= setTimeout(() => {
      this.wakes = undefined;
      for (const open of this.paused) open.wake();
    }, this.paused.size / 10);
  }

  /** Asks the server, unless the run has stopped; an interrupt stops it. */
  async ask<T>(what: () => Promise<T>): Promise<T> {
    await this.check();
    return await this.work(what);
  }

  /** Does something during which it is not suspended. */
  async work<T>(what: () => Promise<T>): Promise<T> {
    this.busy++;
    try {
      return await what();
    } catch (error) {
      throw this.caught(error);
    } finally {
      this.busy--;
      this.consider();
    }
  }

  /** A program that goes on after it was stopped is told so again; one that does so for ever is left behind. */
  private async check(): Promise<void> {
    if (!this.stopped) return;
    await turn();
    if (++this.callsAfterStop > MOST_CALLS_AFTER_STOP) {
      this.leave();
      await new Promise<never>(() => undefined);
    }
    throw this.stopped;
  }

  /** Something has ended that this process has run. */
  progressed(): void {
    this.progress = performance.now();
    for (const open of this.paused) if (open.sort === "any") open.wake();
  }

  /** An interrupt stops the run. */
  caught(error: unknown): unknown {
    if (error instanceof Interrupt) this.stop(error);
    return error;
  }

  /** Waits until an open position may have ended. */
  pause(open: Open): Promise<void> {
    return new Promise((resolve, reject) => {
      const end = (then: () => void): void => {
        clearTimeout(timer);
        this.paused.delete(paused);
        then();
      };
      const paused: Paused = {
        ...open,
        wake: () => {
          end(resolve);
        },
        stop: (interrupt) => {
          end(() => {
            reject(interrupt);
          });
        },
      };
      const due = (open.runAt ?? Infinity) - this.options.server.now();
      const left = open.sort === "sleep" ? due : Math.min(due, this.lookAgain);
      const timer = setTimeout(paused.wake, Math.min(Math.max(left, 5), LONGEST));
      this.paused.add(paused);
      if (this.stopped) paused.stop(this.stopped);
      else this.consider();
    });
  }

  /** News wake at once; of the little that nobody is told of, it finds out by itself (ms), later where much is open. */
  private get lookAgain(): number {
    return 1000 * Math.max(1, this.paused.size / 20);
  }

  /** The program waits for that. */
  async demand<T>(until: Demand["until"], ids: string[], what: () => Promise<T>): Promise<T> {
    const demand = { until, ids: new Set(ids) };
    this.demands.add(demand);
    this.progress = performance.now();
    try {
      return await what();
    } finally {
      this.demands.delete(demand);
    }
  }

  /** If nothing is left to do but to wait: when to give the worker free. */
  private consider(): void {
    clearTimeout(this.timer);
    if (this.busy > 0 || this.paused.size === 0 || this.stopped) return;
    const open = [...this.paused];
    const isTimed = open.every((one) => one.sort === "sleep");
    const next = Math.min(...open.map((one) => one.runAt ?? Infinity)) - this.options.server.now();
    const patience = this.options.patience * 1000;
    if (isTimed && next <= patience) return;
    const left = isTimed ? 0 : this.progress + patience - performance.now();
    this.timer = setTimeout(
      () => {
        void this.suspend();
      },
      Math.max(left, 1),
    );
  }

  private async suspend(): Promise<void> {
    if (this.busy > 0 || this.paused.size === 0 || this.stopped) return;
    const open = [...this.paused].map((one) => one.id);
    const [demand, other] = this.demands;
    const isAll = demand?.until === "all" && !other && open.every((id) => demand.ids.has(id));
    const { server, executor, warn } = this.options;
    try {
      const row = await this.work(() =>
        server.call("suspend", {
          workflow_id: this.id,
          executor_id: executor,
          lease: this.lease,
          open: list("uuid", open),
          until: isAll ? "all" : "any",
        }),
      );
      if (row.status === "RUNNING") this.wake();
      else this.stop(new Interrupt("suspended", row.run_at ? `until ${row.run_at}` : "until something happens"));
    } catch (error) {
      if (!(error instanceof Interrupt)) warn(`suspend: ${String(error)}`);
    }
  }
}
