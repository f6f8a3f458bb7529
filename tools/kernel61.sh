#!/bin/bash
# tools/kernel61.sh -- does the broker work under Debian 12's own kernel 6.1?
#
# Usage: tools/kernel61.sh BROKER. Boots that kernel in qemu (without KVM, so it runs anywhere),
# with a RAM disk that holds the broker, Debian's MQTT clients and what they link to, and sends a
# message of each QoS through it, small and large. Nothing is installed in the running system but
# qemu, busybox and cpio; the kernel is only unpacked, into $OUT/kernel61/. Ends with
# `N passed, N failed`.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
broker=$(realpath -m "${1:?the broker to try}")
dir=$(realpath -m "${OUT:-build}")/kernel61
mkdir -p "$dir"
if [ ! -x "$broker" ]; then
    echo "no broker to try: $broker"
    echo "0 passed, 1 failed"
    exit 1
fi
"$here/deps.sh" qemu-system-x86 busybox-static cpio mosquitto-clients

cd "$dir"
if ! ls vmlinuz/boot/vmlinuz-6.1* >/dev/null 2>&1; then
    apt-cache show linux-image-amd64 >/dev/null 2>&1 || apt-get update -qq
    package=$(apt-cache depends linux-image-amd64 | awk '$2 ~ /^linux-image-6\.1/ {print $2; exit}')
    [ -n "$package" ] || { echo "this machine's Debian has no kernel 6.1"; exit 1; }
    echo "kernel61: unpacking $package"
    apt-get download -qq -o APT::Sandbox::User=root "$package"
    dpkg -x linux-image-6.1*.deb vmlinuz
    rm -f linux-image-6.1*.deb
    rm -rf vmlinuz/lib vmlinuz/usr
fi

# ---- the RAM disk
rm -rf root
mkdir -p root/{bin,proc,sys,dev,tmp,etc,run}
cp "$(command -v busybox)" root/bin/busybox
for program in "$broker" "$(command -v mosquitto_pub)" "$(command -v mosquitto_sub)"; do
    cp "$program" root/bin/
    ldd "$program" | grep -oE '/[^ ]+' | while read -r library; do
        mkdir -p "root$(dirname "$library")"
        cp -Ln "$library" "root$library"
    done
done
mv "root/bin/$(basename "$broker")" root/bin/broker 2>/dev/null || true
echo '127.0.0.1 localhost' >root/etc/hosts
printf 'root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n' >root/etc/passwd
printf 'root:x:0:\nnogroup:x:65534:\n' >root/etc/group
cat >root/init <<'INIT'
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev 2>/dev/null
ulimit -l unlimited
ifconfig lo 127.0.0.1 up
echo "KERNEL $(uname -r)"
broker >/tmp/log 2>&1 &
id=$!
tries=0
until nc -w 1 127.0.0.1 1883 </dev/null >/dev/null 2>&1; do
    tries=$((tries + 1))
    if [ $tries -ge 30 ] || ! kill -0 $id; then
        echo "RESULT not ok listens"
        sed 's/^/LOG /' /tmp/log
        poweroff -f
    fi
    sleep 1
done
echo "RESULT ok listens"
dd if=/dev/zero bs=1k count=100 2>/dev/null | tr '\0' x >/tmp/large
for qos in 0 1 2; do
    for size in small large; do
        [ $size = small ] && echo hello >/tmp/in || cp /tmp/large /tmp/in
        mosquitto_sub -h 127.0.0.1 -t "k/$qos/$size" -q $qos -C 1 -N -W 30 >/tmp/out 2>>/tmp/log &
        sub=$!
        sleep 2
        mosquitto_pub -h 127.0.0.1 -t "k/$qos/$size" -q $qos -f /tmp/in 2>>/tmp/log
        wait $sub
        if cmp -s /tmp/in /tmp/out; then echo "RESULT ok qos_${qos}_$size"
        else echo "RESULT not ok qos_${qos}_$size"; fi
    done
done
kill -TERM $id
wait $id
rc=$?
if [ $rc -eq 0 ]; then echo "RESULT ok stops"; else echo "RESULT not ok stops: exit status $rc"; fi
sed 's/^/LOG /' /tmp/log | tail -n 40
sync
poweroff -f
INIT
chmod +x root/init
(cd root && find . | cpio -o -H newc --quiet | gzip -1) >initrd.gz

timeout 300 qemu-system-x86_64 -accel tcg -cpu max -smp 2 -m 512 -nographic -no-reboot \
    -kernel "$(ls vmlinuz/boot/vmlinuz-6.1* | head -n 1)" -initrd initrd.gz \
    -append 'console=ttyS0 panic=-1 quiet' </dev/null >console.log 2>&1 || true

tr -d '\r' <console.log | sed -n 's/^.*KERNEL /kernel /p; s/^RESULT //p'
passed=$(tr -d '\r' <console.log | grep -c '^RESULT ok' || true)
[ "$passed" -eq 8 ] || sed -n 's/^LOG /    /p' console.log
grep -q KERNEL console.log || tail -n 15 console.log
echo "$passed passed, $((8 - passed)) failed"
[ "$passed" -eq 8 ]
