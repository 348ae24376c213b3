<?php
namespace A\B;
use C\D;
require_once 'x.php';
#[Attr]
abstract class A extends B implements C { use T; private $x = 1; const K = 2; public static function f(int $a, ?string $b = null): int { return $this->x; } }
function f(&$a) { if ($a) { b(); } elseif ($c) { } else if ($d) { } else { e(); } switch ($x) { case 1: f(); break; default: g(); } foreach ($xs as $k => $v) { echo "a $v {$b->c}"; }  try { } catch (E $e) { } finally { } $f = function ($x) use ($y) { return $x; }; $z = match ($x) { 1 => 2, default => 3 }; $a = [1, 'b' => 2]; new Foo(1); A::b(); global $q; return $x ?? 1; }
if ($a): b(); else: c(); endif;
?>
<p><?= $x ?></p>
