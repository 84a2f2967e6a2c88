/*-------------------------------------------------------------------------
 *
 * id_list.h
 *	  Lists of ids, any number of them.
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

extern void append_id(IdList *list, const pg_uuid_t *id);
extern void append_ids(IdList *list, const IdList *more);
extern void append_array(IdList *list, Datum ids);
extern void append_result(IdList *list);
extern bool contains(const IdList *list, const pg_uuid_t *id);

#define contains_id contains

#endif							/* DURABLE_ID_LIST_H */
