/*-------------------------------------------------------------------------
 *
 * gather.h
 *	  New rows of registers that are inserted together (gather.c).
 *
 *-------------------------------------------------------------------------
 */
#ifndef DURABLE_GATHER_H
#define DURABLE_GATHER_H

#include "relation.h"

#include "storage/itemptr.h"
#include "utils/uuid.h"

/* Called for a row when it is there: of which register and workflow it is, and where. */
typedef void (*NoteRow) (OurIndex *ours, const pg_uuid_t *id, const ItemPointerData *row);

extern void begin_gathering(void);
extern bool gather(OurIndex *ours, Relation table, Datum *values, const pg_uuid_t *id, NoteRow note);
extern void write_gathered(const OurIndex *ours);
extern void end_gathering(void);
extern void forget_gathered(void);

#endif							/* DURABLE_GATHER_H */
