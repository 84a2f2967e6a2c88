/*-------------------------------------------------------------------------
 *
 * tags.h
 *	  The tags of workflows (tags.c).
 *
 *-------------------------------------------------------------------------
 */
#ifndef DURABLE_TAGS_H
#define DURABLE_TAGS_H

#include "durable.h"

/* A new workflow, and its tags, NULL if it has none. */
typedef struct NewTags
{
	NullableDatum id;
	NullableDatum tags;
} NewTags;

extern void write_tags(const NewTags *rows, int count);

#endif							/* DURABLE_TAGS_H */
