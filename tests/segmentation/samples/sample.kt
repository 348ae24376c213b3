package a.b
import java.util.*
@Ann(1) data class P(val x: Int, private var y: String = "a") : B(), I {
 init { f() }
 override fun g(a: Int): Int { return this.x }
 companion object {
  const val K = 1
 }
 val z: Int get() = 1
}
fun <T> f(a: T, vararg b: Int): List<T> = listOf(a)
fun main() { val x = if (a) { b() } else if (c) d() else { e() }
 when (x) { 1, 2 -> f()
 is Int -> { g() }
 else -> h()
 }
 for (i in 0..10) { println("a $i ${i + 1}") }
 do { x++ } while (x < 3)
 try { a() } catch (e: E) { b() } finally { c() }
 xs.map { it + 1 }.forEach { y -> println(y) }
 a?.b ?: c
 return x!!
}
enum class E { A, B }
