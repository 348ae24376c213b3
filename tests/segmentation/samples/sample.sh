#!/bin/bash
x=1
if [ "$x" -gt 1 ]; then echo a; ls; elif [[ $y == z ]]; then b; else c; fi
for i in 1 2 3; do echo $i; done
for ((i=0;i<3;i++)); do echo; done
while read l; do echo "a ${l} $(pwd)"; done < f
case $x in a|b) echo 1; ls ;; *) echo 2 ;; esac
f() { local y=$1; return 0; } # c
a | b | c > out 2>&1
(cd x; ls)
cat <<EOF
hi $x
EOF
y=$((x+1))
