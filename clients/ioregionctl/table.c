/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "internal/cleanup.h"
#include "table.h"
#include "text.h"

int table_add(struct table *table, const char *text) {
    char **cells = reallocarray(table->cells, table->n_cells + 1, sizeof(*cells));

    if (!cells)
        return -ENOMEM;
    table->cells = cells;
    cells[table->n_cells] = text_escape(*text ? text : "-");
    if (!cells[table->n_cells])
        return -ENOMEM;
    table->n_cells++;
    return 0;
}

static const char *title(const struct table *table, size_t column) {
    return table->titles[column] + (table->titles[column][0] == '>');
}

static size_t column_width(const struct table *table, size_t column, bool legend) {
    size_t width = legend ? text_width(title(table, column)) : 0;

    for (size_t i = column; i < table->n_cells; i += table->n_columns)
        if (text_width(table->cells[i]) > width)
            width = text_width(table->cells[i]);
    return width;
}

static void print_cell(const struct table *table, FILE *file, size_t column, size_t width, const char *text) {
    bool last = column + 1 == table->n_columns, right = table->titles[column][0] == '>';
    int gap = (int) (width - text_width(text));

    fprintf(file, "%*s%s", right ? gap : 0, "", text);
    if (!last)
        fprintf(file, "%*s", (right ? 0 : gap) + 2, "");
    else
        fputc('\n', file);
}

void table_print(const struct table *table, FILE *file, bool legend) {
    _cleanup_(freep) size_t *widths = calloc(table->n_columns, sizeof(*widths));

    if (!widths)
        return;
    for (size_t i = 0; i < table->n_columns; i++)
        widths[i] = column_width(table, i, legend);
    for (size_t i = 0; legend && i < table->n_columns; i++)
        print_cell(table, file, i, widths[i], title(table, i));
    for (size_t i = 0; i < table->n_cells - table->n_cells % table->n_columns; i++)
        print_cell(table, file, i % table->n_columns, widths[i % table->n_columns], table->cells[i]);
}

void table_done(struct table *table) {
    for (size_t i = 0; i < table->n_cells; i++)
        free(table->cells[i]);
    free(table->cells);
    table->cells = NULL;
    table->n_cells = 0;
}
