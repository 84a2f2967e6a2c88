/*-------------------------------------------------------------------------
 *
 * privileges.c
 *	  Who may do what: the level of each function, grant_to and revoke_from, and
 *	  what a client may not ask of start.
 *
 * The levels are the rows of one table, each holds what the levels before it
 * hold.  Nothing is PUBLIC's (the end of the install script), and the tables
 * are the owner's alone: the functions read and write them as their owner.
 *
 * grant_to and revoke_from are no more than GRANT and REVOKE.  These run with the
 * rights of the caller, and are handed to the server as parse trees, not as
 * text, so that there is no name to quote; event triggers and auditors see
 * them as any other.
 *
 * Locks: the extension's own object first, as DROP and ALTER EXTENSION do, then
 * what GRANT and REVOKE lock.  So these two calls wait for each other, where
 * two plain GRANTs of one function would fail ("tuple concurrently updated"),
 * and find the members of the extension as they stay.
 *
 *-------------------------------------------------------------------------
 */
#include "plan.h"
#include "privileges.h"

#include "catalog/pg_class.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "storage/lmgr.h"
#include "tcop/dest.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/catcache.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

PG_FUNCTION_INFO_V1(durable_grant_to);
PG_FUNCTION_INFO_V1(durable_revoke_from);

typedef enum Level
{
	READER,						/* looks */
	CLIENT,						/* begins work that others run */
	WORKER,						/* runs workflows, and takes over what others have left */
	OPERATOR,					/* controls trees and queues, checks, cleans up */
	OWNER						/* of no level that could be granted */
} Level;

static const char *const level_names[] = {"reader", "client", "worker", "operator"};

/*
 * The level of each function, table and view of the extension, by its name.  While
 * one is missing here, every grant_to and revoke_from raises an error.  A table that
 * has a function's name, and another level, is told apart.
 */
static const struct
{
	const char *name;
	Level		level;
}			levels[] =

{
	{"bucket", READER},
	{"buckets", READER},
	{"clock", READER},
	{"continued_as", READER},
	{"count", READER},
	{"error", READER},
	{"events", READER},
	{"executors", READER},
	{"history", READER},
	{"input", READER},
	{"is_completed", READER},
	{"list", READER},
	{"lock_key", READER},
	{"left_to_statements", READER},
	{"lock_waits", READER},
	{"metrics", READER},
	{"next_runs", READER},
	{"output", READER},
	{"require_bucket", READER},
	{"schedules", READER},
	{"stats", READER},
	{"status", READER},
	{"step_id", READER},
	{"stuck", READER},
	{"tree", READER},
	{"waiting", READER},
	{"wake_mode", READER},

	{"answer", CLIENT},
	{"signal", CLIENT},
	{"signal_root", CLIENT},
	{"start", CLIENT},
	{"start_many", CLIENT},
	{"wait_for_end", CLIENT},
	{"wait_for_event", CLIENT},

	{"attach", WORKER},
	{"await_any", WORKER},
	{"await_callback", WORKER},
	{"await_signal", WORKER},
	{"await_workflow", WORKER},
	{"claim", WORKER},
	{"claim_from", WORKER},
	{"claim_step", WORKER},
	{"claim_steps", WORKER},
	{"complete", WORKER},
	{"complete_and_claim", WORKER},
	{"complete_and_claim_many", WORKER},
	{"complete_many", WORKER},
	{"continue_as", WORKER},
	{"emit", WORKER},
	{"fail", WORKER},
	{"heartbeat", WORKER},
	{"patched", WORKER},
	{"recover", WORKER},
	{"release", WORKER},
	{"set_tags", WORKER},
	{"set_timeout", WORKER},
	{"sleep", WORKER},
	{"start_child", WORKER},
	{"suspend", WORKER},
	{"tick", WORKER},
	{"wait_for_work", WORKER},

	{"alter_queue", OPERATOR},
	{"alter_schedule", OPERATOR},
	{"backfill_schedule", OPERATOR},
	{"cancel_many", OPERATOR},
	{"cancel_tree", OPERATOR},
	{"check", OPERATOR},
	{"create_queue", OPERATOR},
	{"create_schedule", OPERATOR},
	{"drain_queue", OPERATOR},
	{"drop_queue", OPERATOR},
	{"drop_schedule", OPERATOR},
	{"fork", OPERATOR},
	{"pause_queue", OPERATOR},
	{"pause_schedule", OPERATOR},
	{"pause_tree", OPERATOR},
	{"purge", OPERATOR},
	{"request_cancel", OPERATOR},
	{"resume_failed", OPERATOR},
	{"resume_failed_many", OPERATOR},
	{"resume_queue", OPERATOR},
	{"resume_schedule", OPERATOR},
	{"resume_tree", OPERATOR},
	{"set_buckets", OPERATOR},
	{"trigger_schedule", OPERATOR},

	{"active_root", OWNER},
	{"active_run", OWNER},
	{"all_below", OWNER},
	{"awaited_outcome", OWNER},
	{"buckets (table)", OWNER},
	{"buckets_changed", OWNER},
	{"queue_changed", OWNER},
	{"by_age", OWNER},
	{"cancel_request", OWNER},
	{"deadline", OWNER},
	{"driven", OWNER},
	{"ended", OWNER},
	{"entries", OWNER},
	{"event", OWNER},
	{"executor", OWNER},
	{"filters", OWNER},
	{"grant_to", OWNER},
	{"inline_child", OWNER},
	{"is_dead", OWNER},
	{"keep_registers", OWNER},
	{"latest_started", OWNER},
	{"left_tree", OWNER},
	{"open_position", OWNER},
	{"open_wait", OWNER},
	{"parked", OWNER},
	{"paused", OWNER},
	{"pending", OWNER},
	{"pending_version", OWNER},
	{"prioritized", OWNER},
	{"queue", OWNER},
	{"queue_count", OWNER},
	{"queue_head", OWNER},
	{"queue_lane", OWNER},
	{"queue_late", OWNER},
	{"require_count", OWNER},
	{"revoke_from", OWNER},
	{"schedule", OWNER},
	{"scheduled_run", OWNER},
	{"signal (table)", OWNER},
	{"session_ended", OWNER},
	{"signs_of_life", OWNER},
	{"slot", OWNER},
	{"standing", OWNER},
	{"stale_before", OWNER},
	{"statements", OWNER},
	{"step", OWNER},
	{"suspended", OWNER},
	{"task", OWNER},
	{"unstarted", OWNER},
	{"unsuccessful", OWNER},
	{"wake_note", OWNER},
	{"watch", OWNER},
	{"workflow", OWNER},
	{"workflow_tags", OWNER},
};

/* Whether there is a level by that name. */
static bool
has_level(const char *name, Level *level)
{
	for (int i = 0; i < lengthof(levels); i++)
		if (strcmp(levels[i].name, name) == 0)
		{
			*level = levels[i].level;
			return true;
		}
	return false;
}

static Level
level_of(ObjectType type, const char *name)
{
	Level		level;

	if ((type == OBJECT_TABLE && has_level(psprintf("%s (table)", name), &level)) || has_level(name, &level))
		return level;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("\"%s\" of extension durable has no level of privileges", name),
			 errdetail("The library does not know it."),
			 errhint("Install the library and the extension in one version, then start a new session.")));
}

static Level
require_level(NullableDatum arg)
{
	char	   *name;

	require(arg, "level");
	name = TextDatumGetCString(arg.value);
	for (int i = 0; i < lengthof(level_names); i++)
		if (strcmp(name, level_names[i]) == 0)
			return (Level) i;
	bad_argument("level", "must be the name of a level", psprintf("It is \"%s\".", name),
				 "Pass reader, client, worker or operator.");
}

#define LIST_MEMBERS(P) \
	P(extension, OIDOID) \
	P(grantor, OIDOID)
PARAMETERS(ListMembers, LIST_MEMBERS);

#define MEMBER(F, C, t) F(t, catalog) C(t, id) C(t, schema) C(t, name) C(t, owner) C(t, may_be_granted)
ROW(Member, MEMBER);

/* A row of that catalog is a member of the extension. */
#define IS_MEMBER(t, catalog) \
	t ".oid = ANY (ARRAY(" \
	"    SELECT d.objid FROM pg_depend d " \
	"    WHERE d.refclassid = 'pg_extension'::regclass AND d.refobjid = :extension AND d.deptype = 'e' " \
	"      AND d.classid = '" catalog "'::regclass)) "

/* The schema and the members that have privileges (the types of rows go without). */
static Statement list_members = STATEMENT(ListMembers,
	"SELECT n.tableoid, n.oid, n.nspname::text, n.nspname::text, n.nspowner, "
	"  has_schema_privilege(:grantor, n.oid, 'USAGE WITH GRANT OPTION') "
	"FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace "
	"WHERE e.oid = :extension "
	"UNION ALL "
	"SELECT t.tableoid, t.oid, n.nspname::text, t.typname::text, t.typowner, "
	"  has_type_privilege(:grantor, t.oid, 'USAGE WITH GRANT OPTION') "
	"FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace "
	"WHERE " IS_MEMBER("t", "pg_type")
	"  AND (t.typtype = 'e' OR EXISTS (SELECT 1 FROM pg_class c WHERE c.oid = t.typrelid AND c.relkind = 'c')) "
	"UNION ALL "
	"SELECT p.tableoid, p.oid, n.nspname::text, p.proname::text, p.proowner, "
	"  has_function_privilege(:grantor, p.oid, 'EXECUTE WITH GRANT OPTION') "
	"FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace "
	"WHERE " IS_MEMBER("p", "pg_proc")
	"UNION ALL "
	"SELECT c.tableoid, c.oid, n.nspname::text, c.relname::text, c.relowner, "
	"  has_table_privilege(:grantor, c.oid, 'SELECT WITH GRANT OPTION') "
	"FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
	"WHERE " IS_MEMBER("c", "pg_class") " AND c.relkind IN ('r', 'v') "
	"ORDER BY 2");

/* What GRANT and REVOKE do to one kind of object. */
typedef struct Target
{
	Oid			catalog;
	ObjectType	type;
	const char *privilege;
	List	   *objects;
} Target;

/* The object as the parser names it in a GRANT. */
static Node *
grant_object(ObjectType type, Oid oid, char *schema, char *name)
{
	List	   *names = lappend(list_make1(makeString(schema)), makeString(name));
	ObjectWithArgs *function;
	Oid		   *argtypes;
	int			nargs;

	switch (type)
	{
		case OBJECT_SCHEMA:
			return (Node *) makeString(name);
		case OBJECT_TABLE:
			return (Node *) makeRangeVar(schema, name, -1);
		case OBJECT_FUNCTION:
			function = makeNode(ObjectWithArgs);
			function->objname = names;
			get_func_signature(oid, &argtypes, &nargs);
			for (int i = 0; i < nargs; i++)
				function->objargs = lappend(function->objargs, makeTypeNameFromOid(argtypes[i], -1));
			return (Node *) function;
		default:
			return (Node *) names;
	}
}

/* GRANT of the one privilege, or REVOKE of all. */
static void
execute(bool grant, const Target *target, char *role)
{
	GrantStmt  *stmt = makeNode(GrantStmt);
	AccessPriv *privilege = makeNode(AccessPriv);
	RoleSpec   *grantee = makeNode(RoleSpec);
	PlannedStmt *utility = makeNode(PlannedStmt);

	if (target->objects == NIL)
		return;
	privilege->priv_name = pstrdup(target->privilege);
	grantee->roletype = ROLESPEC_CSTRING;
	grantee->rolename = role;
	grantee->location = -1;

	stmt->is_grant = grant;
	stmt->targtype = ACL_TARGET_OBJECT;
	/* procedures, too */
	stmt->objtype = target->type == OBJECT_FUNCTION ? OBJECT_ROUTINE : target->type;
	stmt->objects = target->objects;
	stmt->privileges = grant ? list_make1(privilege) : NIL;
	stmt->grantees = list_make1(grantee);
	stmt->behavior = DROP_RESTRICT;

	utility->commandType = CMD_UTILITY;
	utility->utilityStmt = (Node *) stmt;
	utility->stmt_location = -1;
	ProcessUtility(utility, grant ? "durable.grant_to" : "durable.revoke_from", false,
				   PROCESS_UTILITY_QUERY, NULL, NULL, None_Receiver, NULL);
}

/*
 * Grants what the level and those before it hold, or revokes what it and those
 * after it hold, and what is of no level where the caller may.  The schema and
 * the types go with the first level.
 *
 * The server only warns a caller who has a privilege but may not grant it.  Here
 * that is an error.  Nothing is taken from an owner: the functions run as that role.
 */
static void
grant_or_revoke(FunctionCallInfo fcinfo, bool grant)
{
	Target		targets[] = {
		{NamespaceRelationId, OBJECT_SCHEMA, "usage"},
		{TypeRelationId, OBJECT_TYPE, "usage"},
		{ProcedureRelationId, OBJECT_FUNCTION, "execute"},
		{RelationRelationId, OBJECT_TABLE, "select"},
	};
	Call		call;
	Level		level;
	Oid			extension;
	Oid			role_id;
	char	   *role;

	require(fcinfo->args[0], "role");
	level = require_level(fcinfo->args[1]);
	role_id = DatumGetObjectId(fcinfo->args[0].value);
	role = GetUserNameFromId(role_id, false);

	/* a standby would refuse the lock, for a reason of its own */
	PreventCommandIfReadOnly(grant ? "GRANT" : "REVOKE");
	extension = get_extension_oid("durable", false);
	LockDatabaseObject(ExtensionRelationId, extension, 0, ShareUpdateExclusiveLock);
	/* gone while we waited? */
	extension = get_extension_oid("durable", false);

	call = begin_call(fcinfo);
	run(&list_members, &(ListMembers)
		{
			.extension = a_value(ObjectIdGetDatum(extension)),.grantor = a_value(ObjectIdGetDatum(call.user))
		}, NEWEST);
	MemoryContextSwitchTo(call.memory);
	for (uint64 row = 0; row < SPI_processed; row++)
	{
		Target	   *target = targets;
		Level		needed = READER;
		Member		member;
		char	   *name;

		fetch(row, 0, &member);
		name = TextDatumGetCString(member.name.value);
		while (target->catalog != DatumGetObjectId(member.catalog.value))
			target++;
		if (target->type == OBJECT_FUNCTION || target->type == OBJECT_TABLE)
			needed = level_of(target->type, name);
		if (grant ? needed > level : needed < level)
			continue;
		if (!DatumGetBool(member.may_be_granted.value))
		{
			if (needed == OWNER)
				continue;
			aclcheck_error(ACLCHECK_NO_PRIV, target->type, name);
		}
		if (!grant && DatumGetObjectId(member.owner.value) == role_id)
			bad_argument("role", "must not be the owner of the extension",
						 psprintf("\"%s\" is owned by \"%s\".", name, role),
						 "The functions run with the privileges of their owner: leave it what it has.");
		target->objects = lappend(target->objects,
								  grant_object(target->type, DatumGetObjectId(member.id.value),
											   TextDatumGetCString(member.schema.value), name));
	}
	end_call(&call);

	for (int i = 0; i < lengthof(targets); i++)
		execute(grant, &targets[i], role);
}

/* ---- who drives ------------------------------------------------------------------ */

/* Whether a role may call one of the functions of that name in the schema. */
static bool
may_call_in(Oid schema, const char *name, Oid role)
{
	CatCList   *functions = SearchSysCacheList1(PROCNAMEARGSNSP, CStringGetDatum(name));
	bool		may = false;

	for (int i = 0; i < functions->n_members && !may; i++)
	{
		Form_pg_proc function = (Form_pg_proc) GETSTRUCT(&functions->members[i]->tuple);

		may = function->pronamespace == schema && may_execute(function->oid, role);
	}
	ReleaseSysCacheList(functions);
	return may;
}

/*
 * Called by start and start_many with the rights of their caller, before
 * begin_call.  An executor_id makes the caller the one that drives, as attach
 * does.  So it takes EXECUTE on attach, which a worker has and a client has not.
 */
void
require_driver(FunctionCallInfo fcinfo, NullableDatum executor_id)
{
	if (executor_id.isnull ||
		may_call_in(get_func_namespace(fcinfo->flinfo->fn_oid), "attach", GetUserId()))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied to pass argument \"executor_id\""),
			 errdetail("Role \"%s\" may start workflows, but not drive them.", GetUserNameFromId(GetUserId(), false)),
			 errhint("Leave it out, and let an executor take the workflow, or grant the role the level worker.")));
}

/* ---- SQL functions --------------------------------------------------------------- */

/* grant_to(role, level) */
Datum
durable_grant_to(PG_FUNCTION_ARGS)
{
	grant_or_revoke(fcinfo, true);
	PG_RETURN_VOID();
}

/* revoke_from(role, level) */
Datum
durable_revoke_from(PG_FUNCTION_ARGS)
{
	grant_or_revoke(fcinfo, false);
	PG_RETURN_VOID();
}
