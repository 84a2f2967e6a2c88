/*-------------------------------------------------------------------------
 *
 * plans.c
 *	  The statements that stand in looking.c and acting.c, by number.
 *
 *-------------------------------------------------------------------------
 */
#include "statements.h"

static Statement statements[NUM_PLANS];
static Parameter parameters[NUM_PLANS][MAX_PARAMETERS];

Statement *
statement_of(PlanId id)
{
	const OldStatement *old = looking_statements[id].sql ? &looking_statements[id] : &acting_statements[id];
	Statement  *statement = &statements[id];

	if (statement->sql == NULL)
	{
		for (int i = 0; i < old->nargs; i++)
			parameters[id][i] = (Parameter) {"", old->argtypes[i]};
		*statement = (Statement)
		{
			.name = old->sql,.sql = old->sql,.parameters = parameters[id],.nparameters = old->nargs,
			.planning = old->planning,.fast = old->fast
		};
	}
	return statement;
}

uint64
run_plan(PlanId id, const Params *params, View view)
{
	return run(statement_of(id), params->values, view);
}
