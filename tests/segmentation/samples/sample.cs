using System;
namespace N { [Serializable] public class A<T> : B, I where T : class { private int x = 1; public int P { get; set; } public int Q { get { return x; } set { x = value; } } [Obsolete("a")] public async Task<int> F(int a, ref string b) { return await G(this.x); } public A() : base(1) { } public int H() => 1; } enum E { A = 1, B } }
class Z { void M() { if (a) { b(); } else if (c) d(); else { } switch (x) { case 1: f(); break; case 2 when y: default: g(); break; } try { } catch (E e) when (x) { } finally { } foreach (var i in xs) { } var l = new List<int> { 1, 2 }; var z = x switch { 1 => 2, _ => 3 }; string s = $"a{b + 1}c"; Func<int, int> f = a => { return a; }; } }
int top = 1;
