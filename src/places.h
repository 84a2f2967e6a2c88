/*-------------------------------------------------------------------------
 *
 * places.h
 *	  Walks through the places in queues, as the indexes have them (places.c).
 *
 *-------------------------------------------------------------------------
 */
#ifndef DURABLE_PLACES_H
#define DURABLE_PLACES_H

#include "head.h"
#include "relation.h"

#include "access/genam.h"
#include "access/sdir.h"
#include "access/htup.h"
#include "access/skey.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"

typedef struct PlaceIndex PlaceIndex;

/* the registers that claims read, too */
extern OurIndex pending_register;
extern OurIndex prioritized_register;

extern const PlaceIndex waiting_places; /* workflows that wait in queues */
extern const PlaceIndex prioritized_places; /* those with a priority, in the order in which they are due */
extern const PlaceIndex head_places;
extern const PlaceIndex late_places;
extern const PlaceIndex lane_places;	/* of keys, each by position */
extern const PlaceIndex lanes_in_order;	/* the same, all of a rank by position */
extern const PlaceIndex lanes_by_service;	/* the same, in the order in which a fair queue serves them */

typedef struct Walk
{
	const PlaceIndex *places;
	Snapshot	snapshot;
	Relation	table;
	Relation	index;
	ScanKeyData keys[5];
	ScanKeyData place[2];		/* the members of one that compares rows: it points here, so no walk is copied ... */
	pg_uuid_t	id;				/* ... and the id in them */
	int			key_count;
	Datum		key;			/* of the workflows, 0 if it is of none */
	bool		ends_at_key;	/* at the first entry that has one */
	ScanDirection direction;
	SysScanDesc scan;
	HeapTuple	row;
	int64		passed;			/* so many entries had rows that the snapshot does not see; of SnapshotAny it tells nothing */
	int64		most_passed;	/* the walk ends at so many */
} Walk;

extern Relation open_to_write(const PlaceIndex *places);
extern bool is_untouched(const PlaceIndex *places);
extern void walk_all(Walk *walk, const PlaceIndex *places, Snapshot snapshot);
extern void walk_queue(Walk *walk, const PlaceIndex *places, Snapshot snapshot, Datum queue, int64 highest, int64 lowest);
extern void walk_lane(Walk *walk, const PlaceIndex *places, Snapshot snapshot, Datum queue, const Position *from);
extern void walk_lane_back(Walk *walk, const PlaceIndex *places, Snapshot snapshot, Datum queue, const Position *from);
extern void walk_position(Walk *walk, const PlaceIndex *places, Snapshot snapshot, Datum queue, const Position *position);
extern void walk_heads(Walk *walk, Snapshot snapshot, Datum queue, int64 rank);
extern void walk_late(Walk *walk, Snapshot snapshot, const pg_uuid_t *head_id);
extern bool next_place(Walk *walk, Position *position);
extern Datum queue_at(const Walk *walk);
extern Datum key_at(const Walk *walk);
extern TimestampTz serve_at(const Walk *walk);
extern pg_uuid_t head_at(const Walk *walk);
extern bool is_live(const Walk *walk);
extern bool is_settled(const Walk *walk);
extern bool is_live_for_some(const Walk *walk, Snapshot ours);
extern bool is_seen_by(const Walk *walk, Snapshot snapshot);
extern void end_walk(const Walk *walk);
extern int	compare_positions(const Position *a, const Position *b);

#endif							/* DURABLE_PLACES_H */
