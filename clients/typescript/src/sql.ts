import type { Pool, PoolClient, ClientBase } from "pg";
import type { ReservedSql, Sql, TransactionSql } from "postgres";
import { DurableError, isTransient } from "./errors";

/** A caller's own connection or transaction, of either driver. */
export type Connection = ClientBase | TransactionSql | ReservedSql;
/** What workflows run on: a pool of either driver. */
export type AnyPool = Pool | Sql;
/** What `ctx.transaction` hands to its function. */
export type Transaction<P extends AnyPool> = P extends Sql ? TransactionSql : PoolClient;

type Rows = Record<string, unknown>[];
type Query = (text: string, values: unknown[]) => Promise<Rows>;

export interface Database {
  query: Query;
  /** The same for a call that waits: none that is sent meanwhile stands behind it. */
  alone: Query;
  /** How many connections it has at most. */
  size: number;
  /** Whether a pooler stands between. Then no two calls need have the same session, and one that waits takes it from others. */
  isPooled(): Promise<boolean>;
  forWorker(): WorkerDatabase;
}

/** What a worker needs, to go on when the server does: each call ends, and what is lost is not used again. */
export interface WorkerDatabase {
  query: Query;
  isPooled(): Promise<boolean>;
  /** A connection of its own. */
  connect(): Promise<Session>;
  /** Commits what `work` does on that connection, or takes it back. */
  transaction<T>(work: (raw: unknown, query: Query) => Promise<T>): Promise<T>;
  end(): void;
}

export interface Session {
  query: Query;
  /** Closes it. */
  end(): void;
}

/** Seconds after which a call of a worker has lost its connection, whatever the network says; more than it waits for work. */
export const silence = { seconds: 60 };

async function within<T>(answer: Promise<T>, late?: () => void): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const end = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      late?.();
      reject(new Error(`the connection was silent for ${silence.seconds} s`));
    }, silence.seconds * 1000);
  });
  return await Promise.race([answer, end]).finally(() => {
    clearTimeout(timer);
  });
}

const BACKEND = "SELECT pg_backend_pid() AS pid";

/** A pooler is noticed by who answers: not whom the connection was made to. Asks until that is known. */
function noticing(ask: () => Promise<{ pid?: number; rows: Rows }>): () => Promise<boolean> {
  let known: Promise<boolean> | undefined;
  const look = async (): Promise<boolean> => {
    const { pid, rows } = await within(ask());
    return pid !== undefined && pid !== Number(rows[0]?.pid);
  };
  return () =>
    (known ??= look().catch((error: unknown) => {
      known = undefined;
      throw error;
    }));
}

function isPg(it: AnyPool | Connection): it is Pool | ClientBase {
  return typeof it === "object" || !("unsafe" in it);
}

export function queryOf(it: AnyPool | Connection, prepare = false): Query {
  if (isPg(it)) return async (text, values) => ((await it.query(text, values)) as { rows: Rows }).rows;
  return async (text, values) => [...(await it.unsafe(text, values as string[], { prepare }))] as Rows;
}

export const database = (pool: AnyPool): Database => (isPg(pool) ? ofPg(pool) : ofPostgres(pool));

function ofPg(pool: Pool): Database {
  const ignore = (): void => undefined; // a query that runs on the connection gets its error, too
  pool.on("error", ignore);
  // before the pool takes its own listener away: there is no moment without one
  pool.on("acquire", (client) => client.off("error", ignore).on("error", ignore));
  const connect = async () => {
    const client = await pool.connect();
    const query: Query = (text, values) => within(queryOf(client)(text, values));
    return { client, query };
  };
  /** A connection that has failed is not used again. */
  const use = async <T>(work: (client: PoolClient, query: Query) => Promise<T>): Promise<T> => {
    const { client, query } = await connect();
    let isLost = false;
    try {
      return await work(client, query);
    } catch (error) {
      isLost = isTransient(error);
      throw error;
    } finally {
      client.release(isLost);
    }
  };
  const transaction: WorkerDatabase["transaction"] = (work) =>
    use(async (client, query) => {
      try {
        await query("BEGIN", []);
        const result = await work(client, query);
        await query("COMMIT", []);
        return result;
      } catch (error) {
        await query("ROLLBACK", []); // or it fails by the loss of the connection
        throw error;
      }
    });
  const isPooled = noticing(() =>
    use(async (client, query) => ({
      pid: (client as { processID?: number }).processID,
      rows: await query(BACKEND, []),
    })),
  );
  return {
    size: pool.options.max,
    query: queryOf(pool),
    alone: queryOf(pool),
    isPooled,
    forWorker: () => ({
      isPooled,
      query: (text, values) => use((_, query) => query(text, values)),
      connect: async () => {
        const { client, query } = await connect();
        const end = (): void => {
          client.release(true);
        };
        return { query, end };
      },
      transaction,
      end: () => undefined,
    }),
  };
}

function ofPostgres(pool: Sql): Database {
  const { max: size, prepare } = pool.options;
  const isPooled = noticing(async () => {
    const rows = await pool.unsafe(BACKEND);
    return { pid: rows.state.pid, rows };
  });
  return {
    size,
    query: async (text, values) => await queryOf(pool, prepare && !(await isPooled()))(text, values),
    alone: queryOf(pool), // what is not prepared has the connection for itself
    isPooled,
    forWorker: () => ofPostgresWorker(pool, isPooled),
  };
}

type Options = Record<string, unknown> & { onclose: (connection: number) => void };

/**
 * Up to 3.4.9, a connection of postgres.js that was lost may not connect again for long; `reserve` may forget who waits
 * for it; fetching types may fail where nobody can catch it; and a statement for a connection that was lost ends the
 * process, or reaches another session. So a worker has connections of its own, made like the pool's, and makes all
 * anew when one is lost.
 */
function ofPostgresWorker(pool: Sql, isPooled: Database["isPooled"]): WorkerDatabase {
  const make = async (options: Options): Promise<Sql> => {
    const { default: postgres } = await import("postgres");
    const prepare = !(await isPooled()) && pool.options.prepare;
    const own = { prepare, fetch_types: false, idle_timeout: null, max_lifetime: null, connect_timeout: 5 };
    return postgres({ ...pool.options, ...own, ...options } as object);
  };
  const lost = new Map<number, () => void>();
  let current: Promise<Sql> | undefined;
  const open = async (): Promise<Sql> => {
    await isPooled(); // once; the types that it fetches all know
    const onclose = (connection: number): void => {
      lost.get(connection)?.();
      if (current === made) end();
    };
    const made: Promise<Sql> = (current ??= make({ onclose }));
    return await made;
  };
  /** Calls that are on their way have a moment. */
  const end = (): void => {
    void current?.then((sql) => sql.end({ timeout: 1 }));
    current = undefined;
  };
  return {
    end,
    isPooled,
    query: async (text, values) => await within(queryOf(await open(), true)(text, values), end),
    connect: async () => {
      let isClosed = false;
      const sql = await make({ max: 1, onclose: () => (isClosed = true) });
      const ask = queryOf(sql, true);
      const query: Query = async (text, values) => {
        if (isClosed) throw new Error("the connection was closed");
        return await within(ask(text, values));
      };
      return { query, end: () => void sql.end({ timeout: 0 }) };
    },
    transaction: async (work) => {
      const sql = await open();
      let connection = -1;
      let isLost = false;
      let body: Promise<unknown> = Promise.resolve();
      const onexecute = ({ id }: { id: number }): boolean => {
        lost.set((connection = id), () => (isLost = true));
        return true;
      };
      return (await sql
        .begin(async (tx) => {
          tx.unsafe("SELECT 1", [], { onexecute } as object).catch(() => undefined); // goes with the next statement
          const raw = unless(() => isLost, tx);
          try {
            return await (body = work(raw, queryOf(raw, true)));
          } catch (error) {
            if (isLost) await new Promise(() => undefined); // the driver has failed it, and must not roll it back
            throw error;
          }
        })
        .finally(async () => {
          lost.delete(connection);
          await body.catch(() => undefined); // it may still be at it, and must not be done again before it has ended
        })) as never;
    },
  };
}

/** A transaction that refuses to be used when it is lost. */
function unless(isLost: () => boolean, tx: TransactionSql): TransactionSql {
  const guarded =
    (fn: unknown) =>
    (...args: unknown[]) => {
      if (isLost()) throw new Error("the connection was closed");
      return (fn as (...args: unknown[]) => unknown)(...args);
    };
  return new Proxy(tx, {
    apply: (target, _, args: unknown[]) => guarded(target)(...args),
    get: (target, key) => {
      const value: unknown = Reflect.get(target, key);
      return typeof value === "function" ? guarded(value) : value;
    },
  });
}

/** A value with the type that it is cast to, as text: so no driver has a way of its own with it. */
export class Typed {
  constructor(
    readonly type: string,
    readonly text: string | null,
  ) {}
}
export const json = (text: string | null | undefined): Typed => new Typed("jsonb", text ?? null);
export function list(type: string, values: readonly (string | number | null)[]): Typed {
  const items = values.map((v) => (v === null ? "NULL" : `"${String(v).replace(/["\\]/g, "\\$&")}"`));
  return new Typed(`${type}[]`, `{${items.join(",")}}`);
}
/** Seconds, or an interval as PostgreSQL writes it. */
export type Duration = number | string;
export const interval = (duration: Duration | undefined): string | undefined =>
  typeof duration === "number" ? `${duration} s` : duration;

export type Args = Record<string, Typed | string | number | boolean | Date | null | undefined>;
export type Row = Record<string, string | null>;

const STEP = "step_id action output error attempt run_at detail";
const WORK = "workflow_id name handler input lease recovery_count";
/** The columns of the functions that answer rows; what stands behind them is not needed here. */
const COLUMNS: Record<string, string> = {
  start: "workflow_id created status lease owner replaced",
  start_many: "position workflow_id created status lease owner replaced",
  attach: "name handler input status lease owner",
  claim_step: STEP,
  claim_steps: `sequence ${STEP}`,
  complete_many: "position task_id completed error",
  complete_and_claim: STEP,
  complete_and_claim_many: `position ${STEP}`,
  fail: "status retry_count run_at",
  start_child: "workflow_id created status output error lease",
  sleep: STEP,
  await_signal: STEP,
  await_callback: STEP,
  await_workflow: STEP,
  await_any: STEP,
  suspend: "status run_at",
  history: "sequence step_id name kind status output error attempt run_at child_id detail wait",
  events: "n topic payload emitted_at",
  claim_from: WORK,
  recover: "workflow_id parent_id name handler input lease recovery_count reason",
  heartbeat: "workflow_id status lease owner",
  continue_as: "workflow_id status lease",
  resume_failed: "handler input status lease",
  fork: "workflow_id status lease",
};

/** The fields of a row as PostgreSQL writes it: (1,"a ""b""",). */
export function fields(row: string): (string | null)[] {
  const found: (string | null)[] = [];
  for (let at = 1; at < row.length;) {
    let end = at;
    if (row[at] === '"') {
      for (end++; row[end] !== '"' || row[end + 1] === '"'; end++) if (row[end] === '"' || row[end] === "\\") end++;
      found.push(row.slice(at + 1, end).replace(/""|\\\\/g, (pair) => pair.charAt(0)));
      at = end + 2;
    } else {
      while (row[end] !== "," && row[end] !== ")") end++;
      found.push(end > at ? row.slice(at, end) : null);
      at = end + 1;
    }
  }
  return found;
}

function expression(name: string, args: Args): { text: string; values: unknown[] } {
  const values: unknown[] = [];
  const named = Object.entries(args).flatMap(([key, value]) => {
    if (value === undefined) return [];
    const it = value instanceof Date ? new Typed("timestamptz", value.toISOString()) : value;
    const type = it instanceof Typed ? it.type : CASTS[key];
    values.push(it instanceof Typed ? it.text : type ? String(it) : it);
    return [`${key} => $${values.length}${type || typeof it === "string" ? "::text" : ""}${type ? `::${type}` : ""}`];
  });
  return { text: `durable.${name}(${named.join(", ")})`, values };
}

const CASTS: Record<string, string> = {};
for (const type of [
  "uuid workflow_id task_id step_id parent_id",
  "interval timeout backoff max_backoff duration retry_after grace rate_limit_window",
  "bigint after",
  "durable.task_kind kind",
]) {
  const [cast, ...names] = type.split(" ");
  for (const name of names) CASTS[name] = cast as string;
}

/** `SELECT durable.name(...)`: its rows, each value as text, or one value as `value`. */
export async function call(query: Query, name: string, args: Args): Promise<Row[]> {
  const { text, values } = expression(name, args);
  const rows = await query(`SELECT ${text}::text AS value`, values);
  const columns = COLUMNS[name]?.split(" ");
  return rows.map((row) => {
    if (!columns) return row as Row;
    const found = fields(row.value as string);
    return Object.fromEntries(columns.map((column, i) => [column, found[i] ?? null]));
  });
}

/** `CALL durable.name(...)`: what it returns. */
export async function wait(query: Query, name: string, args: Args): Promise<Record<string, unknown>> {
  const { text, values } = expression(name, args);
  const [row] = await query(`CALL ${text}`, values);
  return row ?? {};
}

/** An error of the server, as a client gets it; what is transient stays as it is. */
export function translate(error: unknown, refused = asError): unknown {
  const { code, message, severity } = error as { code?: string; message: string; severity?: string };
  return isTransient(error) || !code || !severity ? error : refused(code, message, error);
}
const asError = (code: string, message: string, cause: unknown): unknown => new DurableError(message, code, { cause });

/** A call whose errors are those of the client. */
export async function ask(query: Query, name: string, args: Args): Promise<Row[]> {
  try {
    return await call(query, name, args);
  } catch (error) {
    throw translate(error);
  }
}
