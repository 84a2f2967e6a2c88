/*-------------------------------------------------------------------------
 *
 * head_internal.h
 *	  What the files about heads share: head.c, head_waiting.c, head_raise.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef DURABLE_HEAD_INTERNAL_H
#define DURABLE_HEAD_INTERNAL_H

#include "head.h"
#include "id_list.h"
#include "places.h"

typedef struct Head
{
	pg_uuid_t	id;
	Position	at;
} Head;

/* Entries for the lists of heads. */
typedef struct Late
{
	IdList		heads;
	IdList		workflows;
	Datum	   *run_ats;		/* as many as there are workflows */
	uint64		capacity;
} Late;

/* So many buffers each probe of an index may read without having walked. */
#define FREE_BUFFERS	4

/* To pass over so many dead entries costs as much as to read a buffer for them. */
#define ENTRIES_A_BUFFER	8

/* head.c */
extern int64 buffers_read(void);
extern bool waits_at(Datum queue, const Position *position, Snapshot snapshot);
extern bool look_head(Datum queue, int64 rank, Snapshot snapshot, Head *head);
extern bool look_first(Datum queue, int64 highest, int64 lowest, Snapshot snapshot, Position *first);

/* head_waiting.c */
extern void append_late(Late *late, const pg_uuid_t *head, const Position *at);
extern void write_late(const Late *late);

#endif							/* DURABLE_HEAD_INTERNAL_H */
