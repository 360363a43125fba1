/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef IOREGIONCTL_TABLE_H
#define IOREGIONCTL_TABLE_H

/* A table of text: cells are added row by row, widths follow from what they hold. The same on a terminal and in a pipe.
 */

#include <stdbool.h>
#include <stdio.h>

struct table {
    const char *const *titles; /* the caller's, one a column; a title that begins with '>' aligns to the right */
    size_t n_columns;
    char **cells;
    size_t n_cells;
};

#define TABLE(column_titles)                                                                                           \
    (struct table) {                                                                                                   \
        .titles = (column_titles), .n_columns = sizeof(column_titles) / sizeof((column_titles)[0])                     \
    }

/* Add the next cell: escaped, "-" where it is empty. -ENOMEM. */
int table_add(struct table *table, const char *text);

/* The titles (if wanted) and all full rows. */
void table_print(const struct table *table, FILE *file, bool legend);

void table_done(struct table *table);

#endif
