package a.b;
import java.util.*;
@Ann(1) public class A<T> extends B implements C { private int x = 1; @Override public <T> int f(final int a, String... b) throws E { return this.x; } A() { super(); } static { y(); } enum E { X(1) { int z() {return 1;} }, Y; int q; E() {} } interface I { void f(); } }
class B { void g() { if (a) { b(); } else if (c) d(); else { e(); } switch (x) { case 1: f(); break; default: g(); } int z = switch (x) { case 1 -> 2; default -> { yield 3; } }; try (var q = r()) { a(); } catch (E | F e) { } finally { } for (int i : xs) { } List<String> l = new ArrayList<>(); l.forEach(x -> { p(x); }); do { } while (a); x = (int) y; if (x instanceof Foo f) {} } }
