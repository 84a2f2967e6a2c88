import type { Pool, PoolClient, ClientBase } from "pg";
import type { Sql, TransactionSql, ReservedSql } from "postgres";
import { DurableError, isTransient } from "./errors";

/** A caller's own connection or transaction, of either driver. */
export type Connection = ClientBase | TransactionSql | ReservedSql;
/** What workflows run on: a pool of either driver. */
export type AnyPool = Pool | Sql;
/** What `ctx.transaction` hands to its function. */
export type Transaction<P extends AnyPool> = P extends Sql ? ReservedSql : PoolClient;

type Rows = Record<string, unknown>[];
type Query = (text: string, values: unknown[]) => Promise<Rows>;

/** A connection of its own for a while. */
export interface Session {
  query: Query;
  raw: PoolClient | ReservedSql;
  /** @param broken it is closed, not used again */
  release(broken?: boolean): void;
}

export interface Database {
  query: Query;
  reserve(): Promise<Session>;
  /** How many connections it has at most. */
  size: number;
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
  pool.on("error", () => undefined); // an idle connection that was closed is no reason to end the process
  const ignore = (): void => undefined; // the query that runs gets the error, too
  return {
    size: pool.options.max,
    query: queryOf(pool),
    reserve: async () => {
      const raw = await pool.connect();
      raw.on("error", ignore);
      const release = (broken?: boolean): void => {
        raw.off("error", ignore);
        raw.release(broken);
      };
      return { raw, query: queryOf(raw), release };
    },
  };
}

/** What postgres.js calls at each statement, and when a connection has closed. */
type Hooks = Record<"debug" | "onclose", ((id: number, text?: string, ...rest: unknown[]) => void) | boolean | null>;

/**
 * A connection of postgres.js that was reserved and has closed must not be used again, nor released: the driver would
 * write to a socket that is gone, and end the process. So its hooks tell which connection is whose, and has closed.
 */
function ofPostgres(pool: Sql): Database {
  const hooks = pool.options as unknown as Hooks;
  const { debug, onclose } = hooks;
  const { max: size, prepare } = pool.options;
  const sessions = new Map<string, (connection: number) => void>();
  const closed = new Set<number>();
  hooks.debug = (id, text, ...rest) => {
    sessions.get(text ?? "")?.(id);
    if (typeof debug === "function") debug(id, text, ...rest);
  };
  hooks.onclose = (id) => {
    closed.add(id);
    if (typeof onclose === "function") onclose(id);
  };
  let count = 0;
  const reserve = async (): Promise<Session> => {
    const raw = await pool.reserve();
    const ask = queryOf(raw, prepare);
    const hello = `SELECT 1 -- ${count++}`;
    let connection = -1;
    sessions.set(hello, (id) => {
      closed.delete((connection = id));
      sessions.delete(hello);
    });
    try {
      await ask(hello, []);
    } catch (error) {
      if (!closed.has(connection)) raw.release();
      throw error;
    }
    const query: Query = async (text, values) => {
      if (closed.has(connection)) throw new Error("the connection was closed");
      return await ask(text, values);
    };
    const release = (): void => {
      if (!closed.has(connection)) raw.release();
    };
    return { raw, query, release };
  };
  return { size, query: queryOf(pool, prepare), reserve };
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
