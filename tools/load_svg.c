/* tools/load_svg.c -- plots as SVG, to stand within an HTML page. */
#include "tools/load_svg.h"

#include <math.h>

#define WIDTH 760.0
#define HEIGHT 300.0
#define LEFT 70.0
#define TOP 34.0
#define RIGHT 34.0
#define BOTTOM 30.0
#define BAR_HEIGHT 22.0
#define BAR_LEFT 170.0
#define BAR_WIDTH 430.0
/* Of the name of a bar, in the size that the page gives it. */
#define NAME_LETTERS 24u
/* Marks of an axis of time, at most. */
#define TIME_MARKS 8

static const char *const colours[] = {"#1769aa", "#c2410c", "#15803d", "#7e22ce",
                                      "#b45309", "#0f766e", "#be123c", "#475569"};
#define COLOURS (sizeof(colours) / sizeof(colours[0]))

void load_html_text(FILE *to, const char *text)
{
    for (; *text; text++) {
        switch (*text) {
        case '<':
            fputs("&lt;", to);
            break;
        case '>':
            fputs("&gt;", to);
            break;
        case '&':
            fputs("&amp;", to);
            break;
        case '"':
            fputs("&quot;", to);
            break;
        default:
            putc(*text, to);
        }
    }
}

double load_svg_round_up(double v)
{
    double ten = pow(10, floor(log10(v)));

    if (v <= ten)
        return ten;
    return v <= 2 * ten ? 2 * ten : v <= 5 * ten ? 5 * ten : 10 * ten;
}

/* A number as short as it can be read. */
static void short_number(char *to, size_t n, double v)
{
    if (v >= 1e6)
        snprintf(to, n, "%.3gM", v / 1e6);
    else if (v >= 1e4)
        snprintf(to, n, "%.3gk", v / 1e3);
    else
        snprintf(to, n, "%.4g", v);
}

/* As much of a name as has room beside a bar. */
static void short_name(FILE *to, const char *name)
{
    char text[4 * NAME_LETTERS + 4];
    uint32_t n = 0, letters = 0;

    for (; name[n]; n++) {
        letters += ((unsigned char)name[n] & 0xc0) != 0x80; /* of UTF-8 */
        if (letters > NAME_LETTERS || n == 4 * NAME_LETTERS)
            break;
    }
    snprintf(text, sizeof(text), "%.*s%s", (int)n, name, name[n] ? "\u2026" : "");
    load_html_text(to, text);
}

/* ---- lines ---- */

struct frame {
    double x_to, y_from, y_to; /* of log10(y) if is_log; x is from 0 on */
    bool is_log;
};

static double height_of(double y, bool is_log)
{
    return is_log ? log10(y < 1 ? 1 : y) : y;
}

static double x_at(const struct frame *f, double x)
{
    return LEFT + (WIDTH - LEFT - RIGHT) * x / f->x_to;
}

static double y_at(const struct frame *f, double y)
{
    double share = (height_of(y, f->is_log) - f->y_from) / (f->y_to - f->y_from);

    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share;
}

static struct frame frame_of(const struct load_plot *plot)
{
    struct frame f = {.y_from = HUGE_VAL};
    double most = 0;

    f.is_log = plot->is_log;
    for (uint32_t i = 0; i < plot->line_count; i++) {
        const struct load_line *l = &plot->lines[i];

        for (uint32_t j = 0; j < l->n; j++) {
            f.x_to = fmax(f.x_to, l->x[j]);
            f.y_from = fmin(f.y_from, height_of(l->y[j], f.is_log));
            most = fmax(most, l->y[j]);
        }
    }
    if (f.x_to <= 0)
        f.x_to = 1;
    if (f.is_log) {
        f.y_from = isfinite(f.y_from) ? floor(f.y_from) : 0;
        f.y_to = fmax(ceil(log10(fmax(most, 1))), f.y_from + 1);
    } else {
        f.y_from = 0;
        f.y_to = most > 0 ? load_svg_round_up(most) : 1;
    }
    return f;
}

static void y_mark(FILE *to, const struct frame *f, double y)
{
    char text[32];

    short_number(text, sizeof(text), y);
    fprintf(to,
            "<line class=\"g\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>"
            "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n",
            LEFT, WIDTH - RIGHT, y_at(f, y), y_at(f, y), LEFT - 6, y_at(f, y) + 4, text);
}

static void x_mark(FILE *to, const struct frame *f, double x, const char *text)
{
    fprintf(to,
            "<line class=\"g\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>"
            "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%s</text>\n",
            x_at(f, x), x_at(f, x), TOP, HEIGHT - BOTTOM, x_at(f, x), HEIGHT - BOTTOM + 16, text);
}

static void time_marks(FILE *to, const struct frame *f)
{
    double step = load_svg_round_up(f->x_to / TIME_MARKS);

    for (int i = 0; i * step <= f->x_to; i++) {
        char text[32];

        snprintf(text, sizeof(text), "%.4g s", i * step);
        x_mark(to, f, i * step, text);
    }
}

static void axes(FILE *to, const struct load_plot *plot, const struct frame *f)
{
    if (f->is_log) {
        for (int e = (int)f->y_from; e <= (int)f->y_to; e++)
            y_mark(to, f, pow(10, e));
    } else {
        for (int i = 0; i <= 4; i++)
            y_mark(to, f, f->y_to * i / 4);
    }
    for (uint32_t i = 0; i < plot->tick_count; i++) {
        if (plot->ticks[i].at <= f->x_to)
            x_mark(to, f, plot->ticks[i].at, plot->ticks[i].text);
    }
    if (!plot->ticks)
        time_marks(to, f);
}

void load_svg_lines(FILE *to, const struct load_plot *plot)
{
    struct frame f = frame_of(plot);
    double at = WIDTH - RIGHT;

    fprintf(to,
            "<svg viewBox=\"0 0 %.0f %.0f\" role=\"img\"><text class=\"t\" x=\"%.0f\" "
            "y=\"18\">",
            WIDTH, HEIGHT, LEFT);
    load_html_text(to, plot->title);
    fputs(", ", to);
    load_html_text(to, plot->y_unit);
    fputs("</text>\n", to);
    axes(to, plot, &f);
    for (uint32_t i = plot->line_count; i-- > 0;) {
        const struct load_line *l = &plot->lines[i];
        const char *colour = colours[i % COLOURS];

        fprintf(to, "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"1.6\" points=\"", colour);
        for (uint32_t j = 0; j < l->n; j++)
            fprintf(to, "%.1f,%.1f ", x_at(&f, l->x[j]), y_at(&f, l->y[j]));
        /* A style: the page's rule for texts is stronger than an attribute. */
        fprintf(to, "\"/>\n<text x=\"%.1f\" y=\"18\" style=\"fill:%s\" text-anchor=\"end\">", at,
                colour);
        load_html_text(to, l->name);
        fputs("</text>\n", to);
        at -= 90;
    }
    fputs("</svg>\n", to);
}

/* ---- bars ---- */

void load_svg_bars(FILE *to, const struct load_bar *bars, uint32_t count)
{
    double most = 0, y = 0;
    char text[32];

    for (uint32_t i = 0; i < count; i++)
        most = fmax(most, bars[i].most);
    fprintf(to, "<svg viewBox=\"0 0 %.0f %.0f\" role=\"img\">\n", WIDTH, BAR_HEIGHT * count);
    for (uint32_t i = 0; i < count; i++, y += BAR_HEIGHT) {
        const struct load_bar *b = &bars[i];
        double scale = most > 0 ? BAR_WIDTH / most : 0;

        fprintf(to, "<text x=\"%.0f\" y=\"%.1f\" text-anchor=\"end\">", BAR_LEFT - 8, y + 13);
        short_name(to, b->name);
        short_number(text, sizeof(text), b->value);
        fprintf(to,
                "</text><rect x=\"%.0f\" y=\"%.1f\" width=\"%.1f\" height=\"14\" fill=\"%s\"/>"
                "<line stroke=\"#111\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>"
                "<text x=\"%.1f\" y=\"%.1f\">%s</text>\n",
                BAR_LEFT, y + 2, b->value * scale, colours[i % COLOURS],
                BAR_LEFT + b->least * scale, BAR_LEFT + b->most * scale, y + 9, y + 9,
                BAR_LEFT + b->most * scale + 6, y + 13, text);
    }
    fputs("</svg>\n", to);
}
