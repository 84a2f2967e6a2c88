import { Context, stepId, type Program } from "./context";
import { Interrupt } from "./errors";
import { Serializer } from "./json";
import { Run, type Server, type Within } from "./run";
import { Typed, type AnyPool, type Args, type Row } from "./sql";
import { Telemetry } from "./telemetry";

export interface TestOptions {
  /** What was sent, in order: `[["approved", { by: "Ann" }]]`. */
  signals?: readonly (readonly [name: string, payload?: unknown])[];
  /** What is answered to callbacks, and the outcomes of workflows that are only waited for, by name. */
  answers?: Record<string, unknown>;
  /** How often a step fails before its function is called, or with what it fails for good. */
  failures?: Record<string, number | Error>;
  /** What transactions get. */
  tx?: unknown;
}

const text = (value: Args[string]): string | null =>
  value instanceof Typed ? value.text : value == null ? null : String(value);
const items = (value: Args[string]): string[] => JSON.parse(`[${text(value)?.slice(1, -1) ?? ""}]`) as string[];
const ROOT = "00000000-0000-7000-8000-000000000000";

/** Runs a workflow in memory: sleeps pass at once, signals and failures are those that were given. */
export class TestContext implements Server {
  /** What was recorded, by workflow and position. */
  readonly workflows = new Map<string, Row[]>();
  readonly events: { topic: string; payload: unknown }[] = [];
  private readonly signals: (readonly [string, unknown?])[];
  private readonly failures: Record<string, number | Error>;

  constructor(private readonly options: TestOptions = {}) {
    this.signals = [...(options.signals ?? [])];
    this.failures = { ...options.failures };
  }

  /** What the workflow itself has recorded. */
  get history(): Row[] {
    return this.workflows.get(ROOT) ?? [];
  }

  async run<I, O, P extends AnyPool>(program: Program<I, O, P>, input: I): Promise<O> {
    return (await drive(this, program, input, this.history)) as O;
  }

  now(): number {
    return Date.now();
  }
  rows(name: string, args: Args): Promise<Row[]> {
    return Promise.resolve(name === "history" ? (this.workflows.get(text(args.workflow_id) ?? "") ?? []) : []);
  }
  transaction<T>(work: (tx: Within) => Promise<T>): Promise<T> {
    return work({ raw: this.options.tx, call: (name, args) => this.call(name, args) });
  }

  call(name: string, args: Args): Promise<Row> {
    const workflow = text(args.workflow_id ?? args.parent_id) ?? "";
    const at = Number(args.sequence);
    const history = this.workflows.get(workflow) ?? [];
    this.workflows.set(workflow, history);
    const found = history.find((row) => row.sequence === String(at));
    const row = (more: Row): Row => {
      const made = { sequence: String(at), step_id: stepId(workflow, at), name: text(args.name), wait: null, ...more };
      return Object.assign(found ?? history[history.push(made) - 1] ?? {}, more);
    };
    return Promise.resolve(this.answer(name, args, found, row));
  }

  private answer(name: string, args: Args, found: Row | undefined, row: (more: Row) => Row): Row {
    const ended = (kind: string, wait: string | null, output: unknown): Row =>
      row({ kind, wait, action: "REPLAY", status: "COMPLETED", output: JSON.stringify(output ?? null) });
    const given = this.options.answers?.[text(args.name) ?? ""];
    switch (name) {
      case "claim_step":
        return this.claim(args, found, row);
      case "complete":
      case "fail":
        return this.end(name, args);
      case "start_child": {
        const child = {
          workflow_id: stepId(text(args.parent_id) ?? "", 0xf00000 + Number(args.sequence)),
          created: "t",
          lease: "1",
        };
        return args.queue === undefined
          ? { ...child, status: "RUNNING" }
          : { ...child, ...ended("WORKFLOW", null, given) };
      }
      case "sleep":
        return ended("WAIT", "sleep", null);
      case "await_signal": {
        const index = this.signals.findIndex(([signal]) => items(args.signals).includes(signal));
        const [[signal, payload] = []] = index < 0 ? [] : this.signals.splice(index, 1);
        if (signal !== undefined) return ended("WAIT", "signal", { signal, payload });
        return row({
          kind: "WAIT",
          wait: "signal",
          action: "FAILED",
          status: "FAILED",
          error: "WF013: it has timed out",
        });
      }
      case "await_callback":
        return ended("WAIT", "callback", given);
      case "await_workflow":
        return ended("WAIT", "workflow", given);
      case "await_any":
        return ended("WAIT", "any", { sequence: Number(items(args.sequences)[0]) });
      case "patched":
        return ended("STEP", null, null);
      case "emit":
        this.events.push({ topic: text(args.topic) ?? "", payload: JSON.parse(text(args.payload) ?? "null") });
        return { value: String(this.events.length) };
      default:
        return {};
    }
  }

  private claim(args: Args, found: Row | undefined, row: (more: Row) => Row): Row {
    const name = text(args.name) ?? "";
    const attempt = Number(found?.attempt ?? 0) + 1;
    const left = this.failures[name];
    const retries = Number(args.max_retries ?? 0);
    const kind = text(args.kind) ?? "STEP";
    if (typeof left === "number" && left > 0 && attempt <= retries) {
      this.failures[name] = left - 1;
      return row({
        kind,
        action: "WAIT",
        status: "PENDING",
        attempt: String(attempt),
        run_at: new Date().toISOString(),
      });
    }
    if (left === undefined || left === 0) {
      return row({
        kind,
        action: "EXECUTE",
        status: "RUNNING",
        attempt: String(attempt),
        max_retries: String(retries),
      });
    }
    const error = left instanceof Error ? `${left.name}: ${left.message}` : "Error: it was to fail";
    return row({ kind, action: "FAILED", status: "FAILED", attempt: String(attempt), error });
  }

  private end(name: string, args: Args): Row {
    const step = [...this.workflows.values()].flat().find((one) => one.step_id === text(args.task_id));
    if (!step) return { value: "true" };
    if (name === "complete")
      return Object.assign(step, { status: "COMPLETED", output: text(args.output), value: "true" });
    const isOver = args.retryable === false || Number(step.attempt) > Number(step.max_retries);
    return Object.assign(step, {
      status: isOver ? "FAILED" : "PENDING",
      error: text(args.error),
      run_at: new Date().toISOString(),
    });
  }
}

/** Where a program asks for something else than what was recorded. */
export interface Difference {
  sequence: number;
  message: string;
}

/** Runs a program against a recorded history: the first position that differs, or nothing. It may go on beyond the record. */
export async function replay<I, O, P extends AnyPool>(
  program: Program<I, O, P>,
  history: readonly Row[],
  input?: I,
): Promise<Difference | undefined> {
  const beyond = new Interrupt("suspended", "this is not recorded");
  const refuse = (): Promise<never> => Promise.reject(beyond);
  let last = -1;
  const server: Server = {
    now: () => Date.now(),
    rows: () => Promise.resolve([]),
    transaction: refuse,
    call: (name, args) => {
      if (name === "complete" || name === "fail") return Promise.resolve({});
      last = Number(args.sequence ?? -1);
      return refuse();
    },
  };
  const reached = (sequence: number): void => void (last = Math.max(last, sequence));
  try {
    await drive(server, program, input as I, history, reached);
  } catch (error) {
    if (error instanceof Interrupt && error.reason === "programChanged") {
      return { sequence: Number(/position (\d+)/.exec(error.message)?.[1]), message: error.message };
    }
    if (error === beyond) return undefined;
  }
  const left = history.find((row) => Number(row.sequence) > last);
  const message = `the program ends before position ${left?.sequence} "${left?.name}"`;
  return left && { sequence: Number(left.sequence), message };
}

async function drive<I, O, P extends AnyPool>(
  server: Server,
  program: Program<I, O, P>,
  input: I,
  history: readonly Row[],
  reached?: (sequence: number) => void,
): Promise<unknown> {
  const run = new Run(
    {
      server,
      serializer: new Serializer(),
      telemetry: new Telemetry(),
      executor: "test",
      patience: Infinity,
      fused: false,
      warn: () => undefined,
      retryPause: () => Promise.resolve(),
    },
    ROOT,
    1,
  );
  const ctx = new Context<P>(run, ROOT, "test", input, 1, history, ROOT);
  try {
    return await ctx.finish(program.run);
  } finally {
    reached?.(ctx.position - 1);
  }
}
