import a, {b} from 'c';
export default class A extends B { #x = 1; static async foo(a, b=2) { return this.x; } // ride
  // alone
  @dec get y() { return 1 } }
if (a) { b(); } else if (c) d(); else { e(1,2,3,4) } // end
switch (x) { case 1: f(); break; default: g() }
try { a() } catch (e) { b() } finally { c() }
const f = async (x) => { await x; }, h = `a${b}c`, k = `plain`;
do { x++ } while (x < 3);
app.get('/', function(req, res) { res.send("a"); }, (x) => { y(x) });
label: for (const k of xs) { continue label }
var r = /ab+c/g;
{ let q = 1; }
