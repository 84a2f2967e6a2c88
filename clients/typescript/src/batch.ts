import { refusal } from "./errors";
import { list, Typed, type Args, type Row } from "./sql";

/** One call that waits for the end of the moment. */
interface Waiting {
  name: string;
  args: Args;
  /** The workflow that it is about. */
  workflow?: string;
  resolve(row: Row): void;
  reject(error: unknown): void;
}

/** How calls of a function become one call for many: which arguments become arrays, of which type. */
const MANY: Record<string, { name: string; arrays: Record<string, [name: string, type: string]> }> = {
  start: {
    name: "start_many",
    arrays: {
      name: ["names", "text"],
      input: ["inputs", "jsonb"],
      concurrency_key: ["concurrency_keys", "text"],
      tags: ["tags", "jsonb"],
    },
  },
  complete: {
    name: "complete_many",
    arrays: {
      task_id: ["task_ids", "uuid"],
      output: ["outputs", "jsonb"],
      lease: ["leases", "int"],
      attempt: ["attempts", "int"],
    },
  },
  claim_step: { name: "claim_steps", arrays: { name: ["names", "text"], input: ["inputs", "jsonb"] } },
  complete_and_claim: {
    name: "complete_and_claim_many",
    arrays: {
      step_id: ["step_ids", "uuid"],
      output: ["outputs", "jsonb"],
      name: ["names", "text"],
      lease: ["leases", "int"],
      attempt: ["attempts", "int"],
      sequence: ["sequences", "int"],
      input: ["inputs", "jsonb"],
    },
  },
};
const MOST = 1000;

const text = (value: Args[string]): string | number | null =>
  value instanceof Typed ? value.text : value == null ? null : typeof value === "number" ? value : String(value);

/** What calls must have in common to become one; steps of a workflow, to be claimed, also stand one after the other. */
function group(waiting: Waiting): string {
  const { arrays } = MANY[waiting.name] as (typeof MANY)[string];
  const shared = Object.entries(waiting.args).filter(([key, value]) => !(key in arrays) && value !== undefined);
  if (waiting.name !== "claim_step") return JSON.stringify([waiting.name, shared]);
  return JSON.stringify([waiting.name, shared.filter(([key]) => key !== "sequence")]);
}

/**
 * Sends what concurrent workflows ask for in the same turn of the event loop as one call. A step's completion that nobody
 * waits for goes with the claim of its workflow's next step.
 */
export class Batcher {
  private queue: Waiting[] = [];

  constructor(private readonly send: (name: string, args: Args) => Promise<Row[]>) {}

  async call(name: string, args: Args, workflow?: string): Promise<Row> {
    if (!(name in MANY)) return (await this.send(name, args))[0] as Row;
    return await new Promise((resolve, reject) => {
      if (this.queue.length === 0)
        setImmediate(() => {
          this.flush();
        });
      this.queue.push({ name, args, workflow, resolve, reject });
    });
  }

  private flush(): void {
    const groups = new Map<string, Waiting[]>();
    for (const waiting of pair(this.queue.splice(0))) {
      const key = group(waiting);
      const found = groups.get(key);
      if (found) found.push(waiting);
      else groups.set(key, [waiting]);
    }
    for (const all of groups.values()) for (const part of split(all)) void this.run(part);
  }

  private async run(part: Waiting[]): Promise<void> {
    const [first] = part as [Waiting];
    try {
      if (part.length === 1) {
        const [row] = (await this.send(first.name, first.args)) as [Row];
        settle(first, row);
        return;
      }
      const rows = await this.send(...together(part));
      part.forEach((waiting, i) => {
        settle(waiting, rows[i] as Row);
      });
    } catch (error) {
      if (part.length === 1) first.reject(error);
      else for (const waiting of part) void this.run([waiting]); // one of them forbids all: each for itself
    }
  }
}

/** A row of a call for many says in `error`, "WFnnn: message", why nothing was done for it. */
function settle(waiting: Waiting, row: Row): void {
  const isDone = (row.action ?? row.completed ?? row.created ?? row.value ?? null) !== null;
  if (isDone || row.error == null) waiting.resolve(row);
  else waiting.reject(refusal(row.error.slice(0, 5), row.error.slice(7)));
}

/** Completions of steps become one with a claim of the same workflow. */
function pair(queue: Waiting[]): Waiting[] {
  const completions = new Map(
    queue.filter((w) => w.name === "complete" && w.workflow).map((w) => [w.workflow as string, w]),
  );
  const paired = new Set<Waiting>();
  const both = queue.map((claim) => {
    const done = claim.name === "claim_step" ? completions.get(claim.workflow as string) : undefined;
    if (!done || paired.has(done)) return claim;
    paired.add(done);
    const { workflow_id: _, ...args } = claim.args;
    const { task_id: step_id, output, attempt } = done.args;
    return {
      name: "complete_and_claim",
      args: { step_id, output: output ?? new Typed("jsonb", null), ...args, attempt },
      resolve: (row: Row) => {
        done.resolve(row);
        claim.resolve(row);
      },
      reject: (error: unknown) => {
        done.reject(error);
        claim.reject(error);
      },
    };
  });
  return both.filter((waiting) => !paired.has(waiting));
}

/** Calls that may become one: not too many, and of `claim_step`, those whose positions follow each other. */
function split(all: Waiting[]): Waiting[][] {
  const parts: Waiting[][] = [];
  const position = (w: Waiting | undefined): number => w?.args.sequence as number;
  if (all[0]?.name === "claim_step") all.sort((a, b) => position(a) - position(b));
  for (const waiting of all) {
    const last = parts.at(-1);
    const follows = waiting.name !== "claim_step" || position(last?.at(-1)) + 1 === position(waiting);
    if (last && last.length < MOST && follows) last.push(waiting);
    else parts.push([waiting]);
  }
  return parts;
}

function together(part: Waiting[]): [name: string, args: Args] {
  const [first] = part as [Waiting];
  const { name, arrays } = MANY[first.name] as (typeof MANY)[string];
  const args: Args = {};
  for (const [key, value] of Object.entries(first.args)) if (!(key in arrays)) args[key] = value;
  for (const [key, [array, type]] of Object.entries(arrays)) {
    const values = part.map((w) => text(w.args[key]));
    if (values.some((value) => value !== null)) args[array] = list(type, values);
  }
  if (first.name === "claim_step") {
    args.first_sequence = args.sequence;
    delete args.sequence;
  }
  return [name, args];
}
