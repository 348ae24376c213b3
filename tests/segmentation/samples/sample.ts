interface P<T> extends Q { a: number; b?(x: string): void }
type X = { a: 1 } | string;
enum E { A = 1, B }
abstract class A<T> extends B implements C { private readonly x: number = 1; constructor(public y: string) { super(); } @dec() foo<T>(a?: T): Promise<T> { return a as any; } }
function f(this: X, a: number, ...b: string[]): asserts a is number { return <T>a!; }
namespace N { export const y = 1 }
declare module "m" { }
import type { Q } from 'q';
@Component({a: 1}) class Z { @Input() x; }
