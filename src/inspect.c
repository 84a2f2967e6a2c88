/*-------------------------------------------------------------------------
 *
 * inspect.c
 *	  What this session has made of the statements: how often each was run, how
 *	  often its fast path did it, and what of the server each uses.
 *
 * For tests, and for whoever wants to know why calls are slow.
 *
 *-------------------------------------------------------------------------
 */
#include "plan.h"

#include "catalog/pg_operator.h"
#include "catalog/pg_proc.h"
#include "nodes/nodeFuncs.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/plancache.h"

PG_FUNCTION_INFO_V1(durable_statements);

/* The functions, and those of operators, that a query uses. */
static bool
collect_function(Oid function, void *list)
{
	List	  **functions = list;

	*functions = list_append_unique_oid(*functions, function);
	return false;
}

static bool
collect_operator(Oid operator, List **functions)
{
	return OidIsValid(operator) && collect_function(get_opcode(operator), functions);
}

static bool
collect(Node *node, void *list)
{
	List	  **functions = list;

	if (node == NULL)
		return false;
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, collect, list, QTW_EXAMINE_SORTGROUP);
	if (IsA(node, SortGroupClause))
	{
		collect_operator(((SortGroupClause *) node)->eqop, functions);
		collect_operator(((SortGroupClause *) node)->sortop, functions);
	}
	if (IsA(node, RowCompareExpr))
	{
		ListCell   *cell;

		foreach(cell, ((RowCompareExpr *) node)->opnos)
			collect_operator(lfirst_oid(cell), functions);
	}
	check_functions_in_node(node, collect_function, functions);
	return expression_tree_walker(node, collect, list);
}

static Datum
functions_of(const Statement *statement)
{
	List	   *functions = NIL;
	ListCell   *source;
	ListCell   *cell;
	Datum	   *elements;
	int			n = 0;

	foreach(source, SPI_plan_get_plan_sources(statement->plan))
		foreach(cell, ((CachedPlanSource *) lfirst(source))->query_list)
			collect(lfirst(cell), &functions);
	elements = palloc(Max(list_length(functions), 1) * sizeof(Datum));
	foreach(cell, functions)
		elements[n++] = ObjectIdGetDatum(lfirst_oid(cell));
	return PointerGetDatum(construct_array(elements, n, OIDOID, sizeof(Oid), true, TYPALIGN_INT));
}

/* statements() */
Datum
durable_statements(PG_FUNCTION_ARGS)
{
	NullableDatum columns[6];

	begin_rows_of(fcinfo, lengthof(columns));
	for (const Statement *s = prepared_statements; s; s = s->next)
	{
		bool		is_valid = s->plan && SPI_plan_is_valid(s->plan);

		columns[0] = a_value(CStringGetTextDatum(s->name));
		columns[1] = a_value(CStringGetTextDatum(s->sql));
		columns[2] = a_bool(s->fast != NULL);
		columns[3] = a_bigint(s->calls);
		columns[4] = a_bigint(s->fast_calls);
		columns[5] = is_valid ? a_value(functions_of(s)) : a_null();
		return_row(fcinfo, columns);
	}
	return (Datum) 0;
}
