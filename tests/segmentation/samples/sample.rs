use std::io::{self, Read};
#[derive(Debug)]
// c
pub struct P<T> { pub x: i32, y: Vec<T> }
/// doc
#[test]
fn f<'a, T: Q>(a: &'a str, mut b: u8) -> Result<T, E> where T: X { let x: i32 = 1; let y = if a { 1 } else if b { 2 } else { 3 }; match x { 1 => a(), Some(n) if n > 2 => { b(); } _ => {} } for i in 0..10 { println!("{}", i); } while let Some(z) = it.next() { } loop { break; } xs.iter().map(|q| q + 1).collect::<Vec<_>>(); let Some(v) = w else { return; }; a?; x as u8; self.x = 1; P { x: 1, y } }
impl<T> Tr for P<T> { type X = u8; const C: u8 = 1; fn g(&self) { } }
enum E { A, B(i32), C { x: u8 } }
