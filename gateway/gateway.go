// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"pathgate/backends"
	"pathgate/backends/iscsi"
	"pathgate/gateway/control"
	"pathgate/gateway/nbd"
	"pathgate/gateway/scsi"
	"pathgate/internal/netserve"
	"pathgate/multipath"
	"pathgate/share"
)

const (
	// attachInterval is how often missing files and LUNs are looked for, beside
	// the events that tell of a new LUN.
	attachInterval = time.Second
	// eventHistory is how many events are kept for late readers.
	eventHistory = 4096
	// explanationHistory is how many explanations are kept.
	explanationHistory = 1024
)

// Options are what a Gateway needs beside its configuration.
type Options struct {
	// Logger is told what happens; nil: nothing is logged.
	Logger *slog.Logger
	// Version is the build, as events and the control API show it.
	Version control.Version
	// Sockets were passed to the process, for listeners "systemd:name". They are taken:
	// Run closes them.
	Sockets []Socket
}

// Gateway is a running configuration: sessions, paths, disks and front-ends put
// together. Make it with New, run it with Run, once.
type Gateway struct {
	cfg     *Config
	opt     Options
	log     *slog.Logger
	bus     *Bus
	explain *Explanations
	ready   chan struct{}

	store   *Store
	shares  *Shares            // nil before Run
	claims  *Claims            // likewise
	paths   *multipath.Manager // nil without targets
	links   *iscsi.Links       // likewise
	nbd     *nbd.Server
	nbdAt   []reachable   // where it listens; empty before Run
	targets *targets      // nil without an iSCSI listener, and before Run
	disks   []*servedDisk // in the order of the configuration
	byName  map[string]*servedDisk
	pacer   *share.Pacer
	bounds  *bounds
	look    chan struct{} // attach what is missing, now
	started time.Time

	rescan lastRescan

	mu      sync.Mutex
	routers map[*multipath.Device]*Router
}

// servedDisk is a disk with what the gateway keeps about it.
type servedDisk struct {
	*Disk
	cfg  *DiskConfig
	vm   *VMConfig
	file *backends.File
	frt  *Router // the file's router
	// lun is what initiators know the disk by, nil without an iSCSI listener; unit is
	// what they use, from when the disk was there first.
	lun  *lunIdentity
	unit atomic.Pointer[scsi.Unit]
	own  *ownership

	mu      sync.Mutex
	changed chan struct{} // closed and replaced at each change of availability
	clients int
	refused string // why it is not attached, when its LUN is there
	told    string // what was said last about its availability
}

// New makes a gateway of cfg. Nothing is opened before Run.
func New(cfg *Config, opt Options) (*Gateway, error) {
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	g := &Gateway{
		cfg: cfg, opt: opt, log: opt.Logger,
		bus:     NewBus(BusOptions{History: eventHistory}),
		explain: NewExplanations(explanationHistory),
		ready:   make(chan struct{}),
		byName:  map[string]*servedDisk{},
		pacer:   newPacer(),
		look:    make(chan struct{}, 1),
		routers: map[*multipath.Device]*Router{},
	}
	g.bounds = newBounds(cfg)
	for i := range cfg.VMs {
		vm := &cfg.VMs[i]
		for j := range vm.Disks {
			d := newServedDisk(vm, &vm.Disks[j])
			d.memory = g.bounds.memory(vm.Name)
			d.own = newOwnership(d, g.bus)
			g.disks = append(g.disks, d)
			g.byName[d.FullName()] = d
		}
	}
	server, err := nbd.New(nbd.Config{
		Exports: boundedExports{(*exports)(g)}, Logger: g.log, DrainTimeout: cfg.Timeouts.Drain, CloseOnStop: cfg.NBD.OnStop == StopClose,
		MaxConnections: cfg.Limits.Connections, MaxPerAddress: cfg.Limits.ConnectionsPerAddress,
	})
	if err != nil {
		return nil, err
	}
	g.nbd = server
	return g, nil
}

func newServedDisk(vm *VMConfig, c *DiskConfig) *servedDisk {
	spec := DiskSpec{VM: vm.Name, Name: c.Name, Priority: vm.Priority, ReadOnly: c.ReadOnly}
	for _, e := range c.Extents {
		spec.Pieces = append(spec.Pieces, PieceSpec{Ref: e.LUN, Offset: uint64(e.Offset), Length: uint64(e.Size)})
	}
	if c.File != "" {
		spec.Pieces = []PieceSpec{{Ref: c.File}}
	}
	return &servedDisk{Disk: NewDisk(spec), cfg: c, vm: vm, changed: make(chan struct{})}
}

// Ready is closed when the gateway listens everywhere.
func (g *Gateway) Ready() <-chan struct{} { return g.ready }

// Events is the gateway's event bus. It ends with Run.
func (g *Gateway) Events() *Bus { return g.bus }

// Explanations tells why requests waited.
func (g *Gateway) Explanations() *Explanations { return g.explain }

// Run serves until ctx ends, and then stops in order: listeners, clients, disks,
// sessions, store. The error names what could not be opened, or not be ended.
func (g *Gateway) Run(ctx context.Context) (err error) {
	g.started = time.Now()
	store, err := OpenStore(g.cfg.State)
	if err != nil {
		return err
	}
	g.store = store
	defer func() { err = errors.Join(err, store.Close()) }()
	if g.shares, err = NewShares(g.cfg, store); err != nil {
		return err
	}
	if g.claims, err = NewClaims(g.cfg, store); err != nil {
		return err
	}
	g.planDisks()
	// The layers end one after the other, each when those above it have.
	var clients, admin, paths sync.WaitGroup
	base := context.WithoutCancel(ctx)
	serve, stopServing := context.WithCancel(base)
	defer stopServing()
	if g.targets, err = g.newTargets(serve); err != nil {
		return err
	}
	listeners, err := g.listen()
	if err != nil {
		return err
	}
	defer listeners.close()
	epoch, clean, err := store.Begin()
	if err != nil {
		return err
	}
	err = g.makePaths(ctx, epoch)
	defer g.links.Close()
	if err != nil {
		if clean { // nothing was sent
			err = errors.Join(err, store.CleanStop())
		}
		return err
	}
	logged := g.startLogging()
	defer logged()
	for _, f := range g.cfg.Warnings() {
		g.log.Warn("configuration: " + f.Error())
	}
	g.bus.Publish(Event{Kind: KindGatewayStarted, Message: startMessage(g.opt.Version.Version, clean)})

	below, stopPaths := context.WithCancel(base)
	defer stopPaths()
	talk, stopTalking := context.WithCancel(base)
	defer stopTalking()
	var pathErr error
	var errs errorList
	if g.paths != nil {
		paths.Go(func() { pathErr = g.paths.Run(below) })
	}
	paths.Go(func() { g.attachLoop(below) })
	paths.Go(func() { errs.add(g.pacer.Run(below)) })
	listeners.serve(g, serve, talk, &clients, &admin, &errs)
	close(g.ready)

	select {
	case <-ctx.Done():
	case <-errs.some():
	}
	g.bus.Publish(Event{Kind: KindGatewayStopping, Message: "stopping: clients are drained, then sessions log out"})
	stopServing()
	clients.Wait()
	g.targets.close()
	errs.add(g.closeDisks())
	stopPaths()
	paths.Wait()
	errs.add(pathErr)
	if err := store.CleanStop(); err != nil {
		g.log.Warn("not a clean stop", "error", err)
	}
	g.bus.Close()
	stopTalking()
	admin.Wait()
	return errs.join()
}

func startMessage(version string, clean bool) string {
	m := "pathgate " + version + " started"
	if !clean {
		m += "; the last run did not stop cleanly, so its writes are fenced first"
	}
	return m
}

// closeDisks drains the disks and closes the files.
func (g *Gateway) closeDisks() error {
	var errs []error
	for _, d := range g.disks {
		errs = append(errs, d.Disk.Close())
		d.mu.Lock()
		file := d.file
		d.mu.Unlock()
		if file != nil {
			if err := file.Close(); err != nil {
				errs = append(errs, fmt.Errorf("close %s: %w", d.cfg.File, err))
			}
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, rt := range g.routers {
		rt.Close()
	}
	return errors.Join(errs...)
}

// startLogging has every event logged. The function that it gives waits until
// the last one was.
func (g *Gateway) startLogging() (wait func()) {
	var wg sync.WaitGroup
	wg.Go(func() {
		clients := netserve.NewLog(g.log)
		for e := range g.bus.Subscribe(context.Background(), 0) {
			level, msg, args := eventLine(e)
			switch e.Kind {
			case KindClientConnected, KindClientDisconnected, KindClientRival, KindDiskOwnedElsewhere, KindDiskTakenOver:
				clients.LineOf(e.VM, level, msg, args...) // a client can cause any number of them
			default:
				g.log.Log(context.Background(), level, msg, args...)
			}
		}
	})
	return func() {
		g.bus.Close()
		wg.Wait()
	}
}

// eventLine is what the log is told of e.
func eventLine(e Event) (level slog.Level, msg string, args []any) {
	switch e.Severity {
	case SeverityWarning:
		level = slog.LevelWarn
	case SeverityError, SeverityCritical:
		level = slog.LevelError
	case SeverityInfo, SeverityNotice:
	}
	for _, a := range []Attr{{"vm", e.VM}, {"disk", e.Disk}, {"device", e.Device}, {"path", e.Path}, {"session", e.Session}} {
		if a.Value != "" {
			args = append(args, slog.String(a.Key, a.Value))
		}
	}
	for _, a := range e.Attrs {
		args = append(args, slog.String(a.Key, a.Value))
	}
	return level, e.Kind.String() + ": " + e.Message, args
}

// errorList collects errors from several goroutines.
type errorList struct {
	mu   sync.Mutex
	list []error
	ch   chan struct{}
}

// some is closed at the first error.
func (l *errorList) some() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.chanLocked()
}

func (l *errorList) chanLocked() chan struct{} {
	if l.ch == nil {
		l.ch = make(chan struct{})
	}
	return l.ch
}

func (l *errorList) add(err error) {
	if err == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.list = append(l.list, err); len(l.list) == 1 {
		close(l.chanLocked())
	}
}

func (l *errorList) join() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return errors.Join(l.list...)
}
