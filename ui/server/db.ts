// The connections, what the role may do, and what an error of the database means.

import pg from "pg"
import type { Problem } from "../shared/types.ts"

pg.types.setTypeParser(pg.types.builtins.INT8, Number)

export class Refusal extends Error {
	constructor(readonly problem: Problem, readonly status: 400 | 403 | 404 | 405 | 409 | 410 | 500 | 503 | 504 = 400) {
		super(problem.message)
	}
}

export const badRequest = (message: string, hint?: string) => new Refusal({ kind: "request", code: "22023", message, hint })
export const notFound = (message: string, hint?: string) => new Refusal({ kind: "request", code: "WF001", message, hint }, 404)

/** What the catalog says that this role may do. */
export interface Rights {
	database: string
	role: string
	server: string
	extension: string | null
	usage: boolean
	/** function that may be called -> its arguments */
	functions: Map<string, Set<string>>
	/** table or view that may be read -> its columns */
	relations: Map<string, Set<string>>
}

export class Database {
	private readonly readers: pg.Pool
	private readonly writers: pg.Pool
	private known: { rights: Rights; at: number } | null = null

	constructor(private readonly connection: string | undefined, private readonly timeout: number) {
		const pool = (max: number) => {
			const made = new pg.Pool({ ...this.config(), max, idleTimeoutMillis: 30_000, connectionTimeoutMillis: 5_000 })
			made.on("error", () => (this.known = null))
			return made
		}
		this.readers = pool(4)
		this.writers = pool(2)
	}

	private config(): pg.ClientConfig {
		return { connectionString: this.connection, application_name: "durable-ui", keepAlive: true }
	}

	/**
	 * In a transaction that takes its settings along: behind a pooler the next one may come to another
	 * session, and what a session keeps is found by others.
	 */
	private async run(pool: pg.Pool, settings: string, sql: string, values: unknown[]): Promise<any[]> {
		let client: pg.PoolClient | undefined
		let broken = false
		try {
			client = await pool.connect()
			await client.query(`BEGIN; SET LOCAL statement_timeout = ${this.timeout}; SET LOCAL TimeZone = 'UTC'; ${settings}`)
			const { rows } = await client.query(sql, values)
			await client.query("COMMIT")
			return rows
		} catch (error) {
			const refusal = explain(error)
			broken = refusal.problem.kind === "connection"
			if (broken) this.known = null
			else await client?.query("ROLLBACK").catch(() => (broken = true))
			throw refusal
		} finally {
			client?.release(broken)
		}
	}

	/**
	 * In a transaction that cannot write. A page is a few rows of what may be millions: they are
	 * found by index, whatever statistics say.
	 */
	read(sql: string, values: unknown[] = []): Promise<any[]> {
		return this.run(this.readers, `SET TRANSACTION READ ONLY; SET LOCAL enable_seqscan = off; SET LOCAL enable_mergejoin = off; SET LOCAL jit = off;
			SET LOCAL max_parallel_workers_per_gather = 0`, sql, values)
	}

	write(sql: string, values: unknown[] = []): Promise<any[]> {
		return this.run(this.writers, "", sql, values)
	}

	/** A connection of its own, for what takes long; the caller ends it. */
	async alone(): Promise<pg.Client> {
		const client = new pg.Client({ ...this.config(), connectionTimeoutMillis: 5_000 })
		client.on("error", () => {})
		await client.connect()
		return client
	}

	async rights(): Promise<Rights> {
		if (this.known && Date.now() - this.known.at < 5_000) return this.known.rights
		const [row] = await this.read(`
			SELECT current_database() AS database, current_user AS role, current_setting('server_version') AS server,
				(SELECT extversion FROM pg_catalog.pg_extension WHERE extname = 'durable') AS extension,
				coalesce(has_schema_privilege(n.oid, 'USAGE'), false) AS usage,
				(SELECT json_object_agg(p.proname, coalesce(p.proargnames[1:p.pronargs], '{}')) FROM pg_catalog.pg_proc p
					WHERE p.pronamespace = n.oid AND has_function_privilege(p.oid, 'EXECUTE')) AS functions,
				(SELECT json_object_agg(c.relname, ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a
						WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)) FROM pg_catalog.pg_class c
					WHERE c.relnamespace = n.oid AND c.relkind IN ('r', 'v') AND has_table_privilege(c.oid, 'SELECT')) AS relations,
				ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
					WHERE c.relnamespace = n.oid AND c.relname = 'task' AND a.attnum > 0 AND NOT a.attisdropped) AS task
			FROM (SELECT to_regnamespace('durable')::oid AS oid) n`)
		const sets = (of: Record<string, string[]> | null) =>
			new Map(Object.entries(of ?? {}).map(([name, members]) => [name, new Set(members)]))
		const rights: Rights = {
			...row,
			functions: row.usage ? sets(row.functions) : new Map(),
			relations: row.usage ? sets(row.relations) : new Map(),
		}
		// list answers rows of it to who may not read it
		rights.relations.set("task row", new Set(row.task))
		this.known = { rights, at: Date.now() }
		return rights
	}

	/** Forgets what the role was found to be allowed: it is looked up again. */
	forgetRights(): void {
		this.known = null
	}

	async end(): Promise<void> {
		await Promise.allSettled([this.readers.end(), this.writers.end()])
	}
}

const refused: Record<string, string> = {
	"57014": "It took longer than the dashboard lets a statement run (--statement-timeout).",
	"42501": "The role that the dashboard connects as may not do this. durable.grant_to gives it a higher level.",
	"55P03": "Somebody else has it locked. Try again.",
	"40P01": "It met another transaction head on. Try again.",
}

export function explain(error: unknown): Refusal {
	if (error instanceof Refusal) return error
	if (error instanceof TypeError || error instanceof RangeError || error instanceof SyntaxError || error instanceof URIError)
		return new Refusal({ kind: "request", code: "internal", message: error.message }, 500)
	const { code = "", message = String(error), detail, hint, errors } = error as pg.DatabaseError & { errors?: Error[] }
	const isSqlState = /^[0-9A-Z]{5}$/.test(code)
	if (/^(28|3D)/.test(code))
		return new Refusal({ kind: "connection", code, message, hint: "Check the connection string that the dashboard was started with." }, 503)
	if (!isSqlState || /^(08|57P|53)/.test(code))
		return new Refusal(
			{ kind: "connection", code, message: message || errors?.map((one) => one.message).join("; ") || code, hint: "The dashboard goes on trying." },
			503,
		)
	return new Refusal({ kind: "refused", code, message, detail, hint: hint ?? refused[code] }, code === "42501" ? 403 : code === "WF001" ? 404 : code === "57014" ? 504 : 409)
}
