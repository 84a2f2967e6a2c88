/*-------------------------------------------------------------------------
 *
 * id_list.h
 *	  Lists of ids, any number of them (id_list.c).
 *
 *-------------------------------------------------------------------------
 */
#ifndef DURABLE_ID_LIST_H
#define DURABLE_ID_LIST_H

#include "durable.h"

/* {0} is an empty list. */
typedef struct IdList
{
	pg_uuid_t  *ids;
	uint64		count;
	uint64		capacity;
} IdList;

/* At most so many go into one statement. */
#define IDS_PER_STATEMENT	10000

struct Statement;

extern void append_id(IdList *list, const pg_uuid_t *id);
extern void append_ids(IdList *list, const IdList *more);
extern void append_array(IdList *list, Datum ids);
extern void append_result(IdList *list);
extern bool contains_id(const IdList *list, const pg_uuid_t *id);
extern uint64 run_over_ids(struct Statement *statement, const IdList *list, void *params, IdList *result);

#endif							/* DURABLE_ID_LIST_H */
