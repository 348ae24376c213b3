package main
import ( "fmt"; x "os" )
type P struct { A int `json:"a"`; B string }
type I interface { F(x int) string }
func (p *P) f(a, b int, c ...string) (int, error) { x := 1; if err := g(); err != nil { return 0, err } else if x > 1 { } else { h() }
for i, y := range xs { _ = i }
switch x { case 1, 2: a(); b(); default: c() }
go func() { a() }()
m := map[string]int{"a": 1}
p = &P{A: 1}
s[0]++ 
return 1, nil }
