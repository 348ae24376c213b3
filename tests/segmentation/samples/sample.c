#include <stdio.h>
#define N 3
#define F(x) ((x)+1)
#ifdef X
int q;
#else
int w;
#endif
typedef struct { int a; char *b; } T;
struct S { int x; struct S *n; };
enum E { A = 1, B };
static int *f(const char *s, int a[]) { int x = 1, *p = &x; if (x) { y(); } else if (z) w(); else { } switch (x) { case 1: f(); break; default: g(); } for (int i = 0; i < 3; i++) { } while (1) ; do { } while (x); return (int) sizeof(struct S) + s->x + 'c'; goto end; end: return 0; }
