package main

import (
	"context"
	"fmt"
	"net"
	"path/filepath"

	"google.golang.org/grpc"
	"k8s.io/klog/v2"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

// registrar answers the kubelet's questions about a plug-in.
type registrar struct {
	registration.UnimplementedRegistrationServer
	driver, endpoint string
}

// register lets the kubelet find the driver's socket; what it gives ends that.
func register(registry, driver, endpoint string) (func(), error) {
	listener, err := net.Listen("unix", filepath.Join(registry, driver+"-reg.sock"))
	if err != nil {
		return nil, fmt.Errorf("listening for the kubelet: %w", err)
	}
	server := grpc.NewServer()
	registration.RegisterRegistrationServer(server, &registrar{driver: driver, endpoint: endpoint})
	go func() {
		if err := server.Serve(listener); err != nil {
			klog.ErrorS(err, "The kubelet is not answered any more")
		}
	}()
	return server.Stop, nil
}

func (r *registrar) GetInfo(context.Context, *registration.InfoRequest) (*registration.PluginInfo, error) {
	return &registration.PluginInfo{
		Type: registration.CSIPlugin, Name: r.driver, Endpoint: r.endpoint, SupportedVersions: []string{"1.0.0"},
	}, nil
}

func (r *registrar) NotifyRegistrationStatus(_ context.Context, status *registration.RegistrationStatus) (*registration.RegistrationStatusResponse, error) {
	if !status.GetPluginRegistered() {
		klog.InfoS("The kubelet has not registered the driver", "error", status.GetError())
	}
	return &registration.RegistrationStatusResponse{}, nil
}
